"""The shops of the run, as they are imported. Their size grows with the run; nothing in them is random.

All faults concern the noisy shop. The quiet one shares processes, vendors and Shopify's simulation with it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

from tests.evidence import Json

WEBHOOK_SECRET = "chaos-webhook-secret"
CAPPED = "reward_capped"
COSTS = {"reward_five": 500, "reward_percent": 250, "reward_shipping": 100, CAPPED: 50}
UNKNOWN_REWARD, UNKNOWN_CUSTOMER = "reward_unknown", "404404404"
TIER = "tier_regular"

RICH = [str(1_000_000 + number) for number in range(24)]
MODEST = [str(2_000_000 + number) for number in range(6)]
"""Can buy a few times, and are then refused."""
POOR = [str(3_000_000 + number) for number in range(3)]
"""Can buy nothing."""
NEW = [str(4_000_000 + number) for number in range(24)]
"""Unknown until an import has them."""
QUIET = [str(5_000_000 + number) for number in range(4)]
"""Customers of the quiet shop."""


@dataclass(frozen=True, kw_only=True)
class Award:
    """Points of a customer at the start, or with their import."""

    id: str
    points: int
    earned_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True)
class ChaosShop:
    """A shop. `seconds`: duration of the run."""

    name: str
    seconds: int
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def domain(self) -> str:
        return f"{self.name}.myshopify.com"

    @property
    def full_key(self) -> str:
        return f"{self.name}-full-key-with-at-least-32-characters"

    @property
    def accounts(self) -> dict[str, str]:
        """What each vendor knows it by."""
        keys = {vendor: f"{prefix}_{self.name}" for vendor, prefix in _KEY_PREFIXES.items()}
        return {"shopify": self.domain, **keys}

    @property
    def caps(self) -> dict[str, int]:
        """A cap is lower than the number of purchases."""
        return {CAPPED: max(3, self.seconds // 15)}

    @cached_property
    def points(self) -> dict[str, list[int]]:
        """Points of each award, oldest first, by customer."""
        return {customer: [333] * self._awards_of_the_rich for customer in QUIET}

    @cached_property
    def awards(self) -> dict[str, list[Award]]:
        """By customer, oldest first."""
        return {
            customer: [self._award(customer, number, each) for number, each in enumerate(amounts)]
            for customer, amounts in self.points.items()
        }

    def document(self, customers: Sequence[str] | None = None, *, version: int = 0) -> Json:
        """The shop in the import format, with these customers (default: all). Each version has names of its own."""
        return {
            "domain": self.domain,
            "name": f"{self.name} {version}",
            "currency": "GBP",
            "api_keys": [{"key": self.full_key, "scope": "full"}],
            "shopify": {"access_token": f"shpat_{self.name}"},
            **{vendor: {"api_key": self.accounts[vendor]} for vendor in _KEY_PREFIXES},
            "vip_tiers": [{"id": TIER, "name": f"Regular {version}", "points_required": 0}],
            "rewards": self._rewards(version),
            "customers": [self._customer(one) for one in self.awards if customers is None or one in customers],
        }

    def _rewards(self, version: int) -> list[Json]:
        amount = {"discount_type": "fixed_amount", "discount_amount": "5.00"}
        discounts: dict[str, Json] = {
            "reward_five": amount,
            "reward_percent": {"discount_type": "percentage", "discount_amount": "10.00"},
            "reward_shipping": {"discount_type": "free_shipping"},
            CAPPED: {**amount, "max_redemptions": self.caps[CAPPED]},
        }
        return [
            {"id": one, "name": f"The {one}, {version}", "points_cost": cost, "expiry_days": 30, **discounts[one]}
            for one, cost in COSTS.items()
        ]

    def _customer(self, customer: str) -> Json:
        return {
            "shopify_customer_id": customer,
            "email": f"jane.{customer}@shopper.io",
            "phone": f"+4477{customer}0",
            "first_name": f"Jane{customer}",
            "vip_tier": TIER if int(customer) % 2 else None,
            "lots": [asdict(award) for award in self.awards[customer]],
        }

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


class NoisyShop(ChaosShop):
    """The shop that has all the trouble."""

    @property
    def leaving(self) -> list[str]:
        """Customers who are erased during the run, one after the other."""
        return [str(6_000_000 + number) for number in range(max(2, self.seconds // 12))]

    @property
    def known(self) -> list[str]:
        """The customers of the first import."""
        return [customer for customer in self.points if customer not in NEW]

    @cached_property
    def points(self) -> dict[str, list[int]]:
        points = {customer: [333] * self._awards_of_the_rich for customer in RICH}
        points |= {customer: [470, 230, 700] for customer in (*MODEST, *NEW)}
        points |= {customer: [333] * 20 for customer in self.leaving}
        return points | {customer: [30, 19] for customer in POOR}


_KEY_PREFIXES = {"klaviyo": "pk", "postscript": "sk", "omnisend": "om"}
