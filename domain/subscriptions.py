"""Webhooks out: what a merchant's own systems can subscribe to, and how telling one of them comes out.

unsent ──────> sent      they said so with a 2xx
   └─────────> refused   they said that nobody is there any more: 410
"""

import secrets
from enum import StrEnum

from domain.events import EventKind

UNSENT = "unsent"
SENT = "sent"
REFUSED = "refused"
STATES = (UNSENT, SENT, REFUSED)


class WebhookEvent(StrEnum):
    """What can be subscribed. Sent are `points.redeemed` and `points.refunded`.

    Mage's others, `points.earned`, `customer.tier_upgrade` and `customer.tier_downgrade`, are accepted so that its
    clients find what they know, and never sent.
    """

    POINTS_REDEEMED = "points.redeemed"
    POINTS_REFUNDED = "points.refunded"
    POINTS_EARNED = "points.earned"
    TIER_UPGRADE = "customer.tier_upgrade"
    TIER_DOWNGRADE = "customer.tier_downgrade"


EVENTS = {
    EventKind.REWARD_REDEEMED: WebhookEvent.POINTS_REDEEMED,
    EventKind.REWARD_REFUNDED: WebhookEvent.POINTS_REFUNDED,
}
"""Those that are sent, by what happened."""


def new_secret() -> str:
    """A fresh secret to sign with: 64 lower-case hexadecimal digits."""
    return secrets.token_hex(32)
