"""The redemption's state machine.

          reserve            capture              order webhook
(none) ──────────> pending ──────────> active ──────────────────> used
                      │                  ├── expired, refunded ──> expired
                      │                  ├── used, order cancelled, code reissued ──> active
                      │                  └── expired, late order webhook ──> used
                      └─ compensation ─> failed ── same key again ─> pending (attempt + 1)
"""

from datetime import timedelta
from enum import Enum

from domain.states import State


class RedemptionStatus(State):
    """Status of a redemption."""

    PENDING = "pending"
    FAILED = "failed"
    ACTIVE = "active"
    USED = "used"
    EXPIRED = "expired"

    @property
    def successors(self) -> frozenset["RedemptionStatus"]:
        """The statuses that may follow this one. `expired` is followed by itself when it is refunded."""
        return _SUCCESSORS[self]

    @property
    def is_captured(self) -> bool:
        """Whether the pivot is passed: the points are spent and the customer has the code."""
        return self in CAPTURED


_SUCCESSORS = {
    RedemptionStatus.PENDING: frozenset({RedemptionStatus.ACTIVE, RedemptionStatus.FAILED}),
    RedemptionStatus.FAILED: frozenset({RedemptionStatus.PENDING}),
    RedemptionStatus.ACTIVE: frozenset({RedemptionStatus.USED, RedemptionStatus.EXPIRED}),
    RedemptionStatus.EXPIRED: frozenset({RedemptionStatus.USED}),
    # Its order was cancelled: the code is reissued, or the points are refunded.
    RedemptionStatus.USED: frozenset({RedemptionStatus.ACTIVE, RedemptionStatus.EXPIRED}),
}

CAPTURED = frozenset({RedemptionStatus.ACTIVE, RedemptionStatus.USED, RedemptionStatus.EXPIRED})

USE_GRACE = timedelta(hours=1)
"""How long after its end a code may still appear in an order: Shopify checks the code when the checkout begins."""


REJECTION_KEPT = timedelta(minutes=5)
"""How long a permanent rejection by Shopify answers further purchases of the reward by the customer."""


class Standing(Enum):
    """What an attempt that reserves or releases finds in the redemption's row."""

    OPEN = "open"
    """No points are held for this redemption: the attempt may reserve."""
    HELD = "held"
    """This attempt has reserved."""
    CAPTURED = "captured"
    """The redemption is captured, by this attempt or another."""
    CLOSED = "closed"
    """This attempt has failed, or a later one has begun."""
    OCCUPIED = "occupied"
    """An earlier attempt still holds points. It may yet be captured or fail."""


def standing(attempt: int, *, row_attempt: int | None, row_status: RedemptionStatus | None) -> Standing:
    """Compare an attempt with the redemption's row. The row is the arbiter between concurrent attempts."""
    if row_attempt is None or row_status is None:
        return Standing.OPEN
    if row_status.is_captured:
        return Standing.CAPTURED
    if row_attempt > attempt:
        return Standing.CLOSED
    is_pending = row_status is RedemptionStatus.PENDING
    if row_attempt == attempt:
        return Standing.HELD if is_pending else Standing.CLOSED
    return Standing.OCCUPIED if is_pending else Standing.OPEN
