"""The news of a redemption, as every marketing channel gets it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID, uuid5

_NAMESPACE = UUID("5b1f6d3e-8a1c-5e0d-9c55-6f1d1f0c7a11")


class EventKind(StrEnum):
    """What can happen to a redemption that others are told of."""

    REWARD_REDEEMED = "reward_redeemed"
    REWARD_REFUNDED = "reward_refunded"


def named(channel: str, event: str) -> str:
    """A channel, as people read it, with what it is told unless that is the purchase."""
    return f"{channel} (refund)" if event == EventKind.REWARD_REFUNDED else channel


@dataclass(frozen=True, kw_only=True)
class RewardEvent:
    """One event of one redemption, told to one marketing vendor. All of it is fixed, so a retry repeats it exactly.

    Attributes:
        customer_id: Shopify's numeric customer id.
        points: spent, or given back.
        points_balance: the customer's balance right after the event.
        discount_value: in the shop's currency, or in percent; None where the discount has no figure.
        occurred_at: when the redemption was captured, or refunded, UTC.
        expires_at: when the code stops working; None for one that never does, or does not work any more.
    """

    kind: EventKind
    redemption_id: str
    reward_id: str
    reward_name: str
    customer_id: str
    email: str | None
    phone: str | None
    points: int
    points_balance: int
    discount_type: str
    discount_code: str
    discount_value: Decimal | None
    currency: str
    occurred_at: datetime
    expires_at: datetime | None

    @property
    def event_id(self) -> UUID:
        """The same for every try and every vendor, so that those who can will drop a repeat."""
        return uuid5(_NAMESPACE, f"{self.kind} {self.redemption_id}")

    def delivery_id(self, subscription_id: str) -> UUID:
        """What one webhook subscriber knows the event by, on every try."""
        return uuid5(self.event_id, subscription_id)


@dataclass(frozen=True, kw_only=True)
class CustomerState:
    """What the shop's theme can read of a customer in the metafield `mage.loyalty`.

    Attributes:
        vip_tier: the tier's name.
        status: `member` or `excluded`.
    """

    points_balance: int
    lifetime_points: int
    redeemed_points: int
    vip_tier: str | None
    status: str
