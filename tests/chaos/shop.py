"""The shops of the run, as they are imported. Their size grows with the run; nothing in them is random.

All faults concern the noisy shop. The quiet one shares processes, vendors and Shopify's simulation with it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property

from domain.orders import CancelledOrderPolicy
from tests.chaos.randomness import Clock
from tests.evidence import Json

WEBHOOK_SECRET = "chaos-webhook-secret"
CAPPED = "reward_capped"
LIMITED = "reward_limited"
COSTS = {"reward_five": 500, "reward_percent": 250, "reward_shipping": 100, CAPPED: 50, LIMITED: 40}
FLEXIBLE = "reward_flexible"
STEP, VALUE_PER_STEP = 50, Decimal("0.50")
LADDER = range(100, 501, STEP)
"""The points that can be spent on the flexible reward."""
PRODUCT = "8"
"""The only product that the flexible reward's codes are for."""
CANCELLED = {
    LIMITED: CancelledOrderPolicy.REISSUE,
    FLEXIBLE: CancelledOrderPolicy.REISSUE,
    "reward_shipping": CancelledOrderPolicy.REFUND_POINTS,
}
"""What happens to a redemption whose order is cancelled, by reward. Nothing to those of the others."""
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

    @property
    def limits(self) -> dict[str, int]:
        """How often each customer can redeem a reward."""
        return {LIMITED: 1}

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
            LIMITED: {**amount, "max_per_customer": self.limits[LIMITED]},
        }
        prices: dict[str, Json] = {one: {"points_cost": cost, **discounts[one]} for one, cost in COSTS.items()}
        prices[FLEXIBLE] = {
            "discount_type": "fixed_amount",
            "pricing": "variable",
            "points_step": STEP,
            "value_per_step": str(VALUE_PER_STEP),
            "min_points": LADDER[0],
            "max_points": LADDER[-1],
            "applies_to": {"products": [PRODUCT]},
        }
        return [
            {
                "id": one,
                "name": f"The {one}, {version}",
                "expiry_days": 30,
                **terms,
                "on_order_cancelled": CANCELLED.get(one, CancelledOrderPolicy.NONE),
            }
            for one, terms in prices.items()
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
            id=f"{self._owner(customer)}-{number}",
            points=points,
            earned_at=self.began - timedelta(days=300) + timedelta(hours=number),
            expires_at=self._expiry(number) if self._expires(customer) and number % 3 == 1 else None,
        )

    def _owner(self, customer: str) -> str:
        """What the customer's awards are named by."""
        return customer

    def _expires(self, customer: str) -> bool:
        return customer in RICH

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

    @cached_property
    def merges(self) -> list[tuple[str, str]]:
        """Pairs of customers of whom the second gets everything, one after the other. Every second one goes further."""
        pairs: list[tuple[str, str]] = []
        for number in range(max(2, self.seconds // 10)):
            pairs.append((str(7_000_000 + number), str(8_000_000 + number)))
            if number % 2:
                pairs.append((str(8_000_000 + number - 1), str(8_000_000 + number)))
        return pairs

    def merging_now(self, clock: Clock) -> list[str]:
        """Customers who are merged at about this time, soon, or were a short time ago."""
        return [customer for pair in clock.nearby(self.merges, past=4) for customer in pair]

    @cached_property
    def merging(self) -> frozenset[str]:
        """The customers of all merges."""
        return frozenset(customer for pair in self.merges for customer in pair)

    @property
    def known(self) -> list[str]:
        """The customers of the first import."""
        return [customer for customer in self.points if customer not in NEW]

    @cached_property
    def points(self) -> dict[str, list[int]]:
        points = {customer: [333] * self._awards_of_the_rich for customer in RICH}
        points |= {customer: [470, 230, 700] for customer in (*MODEST, *NEW)}
        points |= {customer: [333] * 20 for customer in (*self.leaving, *sorted(self.merging))}
        return points | {customer: [30, 19] for customer in POOR}

    def _owner(self, customer: str) -> str:
        # The awards of two customers who are merged have equal ids.
        return f"merging-{customer[1:]}" if customer in self.merging else customer

    def _expires(self, customer: str) -> bool:
        return super()._expires(customer) or customer in self.merging


_KEY_PREFIXES = {"klaviyo": "pk", "postscript": "sk", "omnisend": "om"}
