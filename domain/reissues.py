"""The reissue of a code whose order was cancelled or fully refunded, and its state machine.

pending ──────> done      the customer has a new code
   └──────────> refused   another order has used the code, or the customer was erased
"""

from datetime import datetime, timedelta
from enum import StrEnum

from domain.states import State

MIN_TIME_LEFT = timedelta(days=7)
"""A reissued code works at least this long."""


class ReissueStatus(State):
    """Status of a reissue."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"

    @property
    def successors(self) -> frozenset["ReissueStatus"]:
        """Only a pending reissue changes."""
        is_pending = self is ReissueStatus.PENDING
        return frozenset({ReissueStatus.DONE, ReissueStatus.REFUSED} if is_pending else ())


class ReissueOutcome(StrEnum):
    """Outcome of a reissue's workflow."""

    REISSUED = "reissued"
    REFUSED = "refused"


def reissued_expiry(expires_at: datetime | None, *, now: datetime) -> datetime | None:
    """When the new code expires: with the old one, but not within `MIN_TIME_LEFT`. To the second, as at Shopify."""
    if expires_at is None:
        return None
    return max(expires_at, (now + MIN_TIME_LEFT).replace(microsecond=0))
