"""Events of a redemption, and the customer state, as they are delivered to channels."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID, uuid5

_NAMESPACE = UUID("5b1f6d3e-8a1c-5e0d-9c55-6f1d1f0c7a11")


class EventKind(StrEnum):
    """Kind of event that is delivered."""

    REWARD_REDEEMED = "reward_redeemed"
    REWARD_REFUNDED = "reward_refunded"
    REWARD_REISSUED = "reward_reissued"
    PURCHASE_FAILED = "purchase_failed"
    """A queued purchase got no discount code. For webhook subscribers only."""


_MARKS = {
    EventKind.REWARD_REFUNDED: " (refund)",
    EventKind.REWARD_REISSUED: " (reissue)",
    EventKind.PURCHASE_FAILED: " (failed purchase)",
}


def channel_label(channel: str, event: str) -> str:
    """The channel's name for people. A delivery of another event than the purchase is marked as such."""
    return channel + _MARKS.get(EventKind(event), "")


@dataclass(frozen=True, kw_only=True)
class Contact:
    """The addresses of a customer, as they are when an event is recorded."""

    email: str | None
    phone: str | None


@dataclass(frozen=True, kw_only=True)
class RewardEvent:
    """One event of one redemption, as it is sent to a marketing vendor. Every retry sends the same values.

    Attributes:
        customer_id: Shopify's numeric customer id.
        points: spent, refunded, or released.
        points_balance: the customer's balance right after the event.
        discount_value: in the shop's currency, or in percent; None for a discount without an amount.
        occurred_at: when the redemption was captured, refunded, reissued, or failed, UTC.
        expires_at: when the code stops working; None if it never expires or is already removed.
        occurrence: which reissue of the redemption it is. 0 for other events, which happen once.
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
    occurrence: int = 0

    @property
    def event_id(self) -> UUID:
        """The same for every retry and vendor, so that vendors can drop duplicates."""
        occurrence = f" {self.occurrence}" if self.occurrence else ""
        return uuid5(_NAMESPACE, f"{self.kind} {self.redemption_id}{occurrence}")

    def delivery_id(self, subscription_id: str) -> UUID:
        """The event's id for one webhook subscriber, the same on every retry."""
        return uuid5(self.event_id, subscription_id)


@dataclass(frozen=True, kw_only=True)
class CustomerState:
    """Content of the customer metafield `mage.loyalty`, which shop themes read.

    Attributes:
        vip_tier: the tier's name.
        status: `member` or `excluded`.
    """

    points_balance: int
    lifetime_points: int
    redeemed_points: int
    vip_tier: str | None
    status: str
