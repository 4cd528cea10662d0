"""Webhooks to subscribers: the events, and the state machine of one delivery to one subscriber.

unsent ──────> sent      answered with a 2xx status
   └─────────> refused   answered with 410 Gone
"""

import secrets
from enum import StrEnum

from domain.events import EventKind
from domain.states import State


class WebhookDeliveryStatus(State):
    """Status of one event's delivery to one subscriber."""

    UNSENT = "unsent"
    SENT = "sent"
    REFUSED = "refused"

    @property
    def successors(self) -> frozenset["WebhookDeliveryStatus"]:
        """Only an unsent delivery changes."""
        is_unsent = self is WebhookDeliveryStatus.UNSENT
        return frozenset({WebhookDeliveryStatus.SENT, WebhookDeliveryStatus.REFUSED} if is_unsent else ())


class WebhookEvent(StrEnum):
    """Events that can be subscribed to. `points.redeemed`, `points.refunded`, `points.reissued` and
    `points.purchase_failed` are sent.

    `points.earned`, `customer.tier_upgrade` and `customer.tier_downgrade` are accepted for compatibility with clients
    of Mage's API, and never sent.
    """

    POINTS_REDEEMED = "points.redeemed"
    POINTS_REFUNDED = "points.refunded"
    POINTS_REISSUED = "points.reissued"
    PURCHASE_FAILED = "points.purchase_failed"
    POINTS_EARNED = "points.earned"
    TIER_UPGRADE = "customer.tier_upgrade"
    TIER_DOWNGRADE = "customer.tier_downgrade"


SENT_EVENTS = {
    EventKind.REWARD_REDEEMED: WebhookEvent.POINTS_REDEEMED,
    EventKind.REWARD_REFUNDED: WebhookEvent.POINTS_REFUNDED,
    EventKind.REWARD_REISSUED: WebhookEvent.POINTS_REISSUED,
    EventKind.PURCHASE_FAILED: WebhookEvent.PURCHASE_FAILED,
}


MAX_SUBSCRIPTIONS = 20
"""Subscriptions of one shop, including paused ones. Each event is sent to all of them."""


def new_secret() -> str:
    """A random signing secret: 64 hexadecimal digits."""
    return secrets.token_hex(32)
