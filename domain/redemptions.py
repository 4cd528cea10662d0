"""A redemption's life, and the names it goes by.

          reserve            capture              order webhook
(none) ──────────> pending ──────────> active ──────────────────> used
                      │                  ├── expired, refunded ──> expired
                      │                  └── expired, order webhook comes late ──> used
                      └─ compensation ─> failed ── same key again ─> pending (attempt + 1)
"""

import re
from datetime import timedelta
from enum import Enum

from domain.ids import new_id

PENDING = "pending"
FAILED = "failed"
ACTIVE = "active"
USED = "used"
EXPIRED = "expired"
STATUSES = (PENDING, FAILED, ACTIVE, USED, EXPIRED)

CAPTURED = frozenset({ACTIVE, USED, EXPIRED})
"""The points are spent and the code was given: past the pivot."""

USE_GRACE = timedelta(hours=1)
"""How long after its end a code may still turn up in an order: Shopify checked it when the checkout began."""


def new_redemption_id() -> str:
    """A fresh public id, like `cr_4k1t9zq0m2x7c8v5b3n6`."""
    return new_id("cr")


def workflow_id(redemption_id: str, attempt: int) -> str:
    """The Temporal workflow of one attempt: the same attempt can never run twice."""
    return f"redemption-{redemption_id}-{attempt}"


def webhook_run_id(shop_domain: str, webhook_id: str) -> str:
    """The Temporal workflow that processes one webhook of Shopify's."""
    return f"webhook-{shop_domain}-{webhook_id}"


def settlement_id(redemption_id: str, attempt: int) -> str:
    """The Temporal workflow that settles an attempt whose own run is gone."""
    return f"settlement-{redemption_id}-{attempt}"


def purchase_runs(redemption_id: str, attempt: int) -> tuple[str, str]:
    """The workflow ids that can have an attempt in hand: its own run, and the one that settles what that left."""
    return workflow_id(redemption_id, attempt), settlement_id(redemption_id, attempt)


def attempt_of(run: str) -> tuple[str, int | None] | None:
    """The redemption and the attempt that a workflow's id names; None when it is about something else.

    A refund's names no attempt.
    """
    match = re.fullmatch(r"(?:redemption|settlement|refund)-(cr_[a-z0-9]+)(?:-([0-9]+))?", run)
    return match and (match[1], int(match[2]) if match[2] else None)


class Standing(Enum):
    """What the row says to an attempt that comes to reserve or to release."""

    OPEN = "open"
    """Nothing is held for this redemption: the attempt may reserve."""
    HELD = "held"
    """This attempt has reserved."""
    CAPTURED = "captured"
    """The purchase has happened, by this attempt or another."""
    CLOSED = "closed"
    """This attempt has failed, or a later one has begun."""
    OCCUPIED = "occupied"
    """An earlier attempt still holds points; whether it ends captured or failed is not known yet."""


def standing(attempt: int, *, row_attempt: int, row_status: str) -> Standing:
    """Where an attempt stands against the redemption's row, which is the arbiter."""
    if row_status in CAPTURED:
        return Standing.CAPTURED
    if row_attempt > attempt:
        return Standing.CLOSED
    if row_attempt == attempt:
        return Standing.HELD if row_status == PENDING else Standing.CLOSED
    return Standing.OCCUPIED if row_status == PENDING else Standing.OPEN
