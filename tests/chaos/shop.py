"""The shop of the run, as it is imported. Its size grows with the run; nothing in it is random."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

from tests.evidence import Json

DOMAIN = "chaos.myshopify.com"
FULL_KEY = "chaos-full-key-with-32-characters"
WEBHOOK_SECRET = "chaos-webhook-secret"
CAPPED = "reward_capped"
COSTS = {"reward_five": 500, "reward_percent": 250, "reward_shipping": 100, CAPPED: 50}
UNKNOWN_REWARD, UNKNOWN_CUSTOMER = "reward_unknown", "404404404"

RICH = [str(1_000_000 + number) for number in range(24)]
MODEST = [str(2_000_000 + number) for number in range(6)]
"""Can buy a few times, and are then refused."""
POOR = [str(3_000_000 + number) for number in range(3)]
"""Can buy nothing."""


@dataclass(frozen=True, kw_only=True)
class Award:
    """Points of a customer at the start."""

    id: str
    points: int
    earned_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True)
class ChaosShop:
    seconds: int
    """Duration of the run."""
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def cap(self) -> int:
        """Cap of the capped reward: lower than the number of its purchases."""
        return max(3, self.seconds // 15)

    @cached_property
    def awards(self) -> dict[str, list[Award]]:
        """By customer, oldest first."""
        rich = {customer: [333] * self._awards_of_the_rich for customer in RICH}
        points = rich | {customer: [470, 230, 700] for customer in MODEST} | {customer: [30, 19] for customer in POOR}
        return {
            customer: [self._award(customer, number, each) for number, each in enumerate(amounts)]
            for customer, amounts in points.items()
        }

    def document(self) -> Json:
        """The shop in the import format."""
        return {
            "domain": DOMAIN,
            "name": "Chaos",
            "currency": "GBP",
            "api_keys": [{"key": FULL_KEY, "scope": "full"}],
            "shopify": {"access_token": "shpat_chaos"},
            "klaviyo": {"api_key": "pk_chaos"},
            "postscript": {"api_key": "sk_chaos"},
            "omnisend": {"api_key": "om_chaos"},
            "rewards": self._rewards(),
            "customers": [_customer(customer, awards) for customer, awards in self.awards.items()],
        }

    def _rewards(self) -> list[Json]:
        amount = {"discount_type": "fixed_amount", "discount_amount": "5.00"}
        discounts: dict[str, Json] = {
            "reward_five": amount,
            "reward_percent": {"discount_type": "percentage", "discount_amount": "10.00"},
            "reward_shipping": {"discount_type": "free_shipping"},
            CAPPED: {**amount, "max_redemptions": self.cap},
        }
        return [
            {"id": one, "name": f"The {one}", "points_cost": cost, "expiry_days": 30, **discounts[one]}
            for one, cost in COSTS.items()
        ]

    @property
    def _awards_of_the_rich(self) -> int:
        return 20 + self.seconds // 4

    def _award(self, customer: str, number: int, points: int) -> Award:
        return Award(
            id=f"{customer}-{number}",
            points=points,
            earned_at=self.began - timedelta(days=300) + timedelta(hours=number),
            expires_at=self._expiry(number) if customer in RICH and number % 3 == 1 else None,
        )

    def _expiry(self, number: int) -> datetime:
        """During the run, and in another order than they are spent in: some are spent by then, some are whole."""
        total = self._awards_of_the_rich
        return self.began + timedelta(seconds=self.seconds * (number * 7 % total) / total)


def _customer(customer: str, awards: list[Award]) -> Json:
    return {
        "shopify_customer_id": customer,
        "email": f"jane.{customer}@shopper.io",
        "phone": "+447700900123",
        "first_name": "Jane",
        "lots": [asdict(award) for award in awards],
    }
