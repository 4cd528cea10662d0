"""The shop in which the run takes place. Its sizes grow with the run; nothing in it is left to chance."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]

DOMAIN = "chaos.myshopify.com"
FULL_KEY = "chaos-full-key"
CAPPED = "reward_capped"
COSTS = {"reward_five": 500, "reward_percent": 250, "reward_shipping": 100, CAPPED: 50}
UNKNOWN_REWARD, UNKNOWN_CUSTOMER = "reward_that_never_was", "404404404"

RICH = [str(1_000_000 + number) for number in range(24)]
MODEST = [str(2_000_000 + number) for number in range(6)]
"""They can buy a few times, and are then refused."""
POOR = [str(3_000_000 + number) for number in range(3)]
"""They can buy nothing."""


@dataclass(frozen=True)
class World:
    """The shop as it is imported, and what it begins with."""

    seconds: int

    @property
    def cap(self) -> int:
        """How often the capped reward can be had: less often than it is asked for."""
        return max(3, self.seconds // 15)

    @property
    def points(self) -> dict[str, int]:
        """Customer → points in the beginning."""
        return {customer: sum(lots) for customer, lots in self._lots().items()}

    def shop(self) -> Json:
        """The shop, as an import file has it."""
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
            "customers": [_customer(one, lots) for one, lots in self._lots().items()],
        }

    def _rewards(self) -> list[Json]:
        amount = {"discount_type": "fixed_amount", "discount_amount": "5.00"}
        kinds: dict[str, Json] = {
            "reward_five": amount,
            "reward_percent": {"discount_type": "percentage", "discount_amount": "10.00"},
            "reward_shipping": {"discount_type": "free_shipping"},
            CAPPED: {**amount, "max_redemptions": self.cap},
        }
        return [
            {"id": one, "name": f"The {one}", "points_cost": cost, "expiry_days": 30, **kinds[one]}
            for one, cost in COSTS.items()
        ]

    def _lots(self) -> dict[str, list[int]]:
        rich = {customer: [333] * (20 + self.seconds // 4) for customer in RICH}
        return rich | {customer: [470, 230, 700] for customer in MODEST} | {customer: [30, 19] for customer in POOR}


def _customer(customer: str, lots: Iterable[int]) -> Json:
    return {
        "shopify_customer_id": customer,
        "email": f"jane.{customer}@shopper.io",
        "phone": "+447700900123",
        "first_name": "Jane",
        "lots": [_lot(f"{customer}-{number}", points, number) for number, points in enumerate(lots)],
    }


def _lot(lot: str, points: int, number: int) -> Json:
    earned = datetime.now(UTC) - timedelta(days=300) + timedelta(hours=number)
    return {"id": lot, "points": points, "earned_at": earned.isoformat(), "expires_at": None}
