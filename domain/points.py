"""Lots of points, and how they are drawn: first in, first out, all or nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from domain.errors import InsufficientPoints

MAX_POINTS = 1_000_000_000
"""Maximum of one movement. Fits an `integer` column of PostgreSQL."""


class EntryKind(StrEnum):
    """Kind of a ledger entry."""

    EARN = "earn"
    RESERVE = "reserve"
    RELEASE = "release"
    REFUND = "refund"
    EXPIRE = "expire"
    ADJUST = "adjust"


REVERSALS = (EntryKind.RELEASE, EntryKind.REFUND)
"""Entries that return reserved points to their lots."""


class EarningAction(StrEnum):
    """How points were awarded or deducted."""

    IMPORT = "import"
    ADJUSTMENT = "adjustment"


class EarningStatus(StrEnum):
    """Status of an entry of the earning history."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class Lot:
    """Points of one award."""

    id: int
    remaining: int
    earned_at: datetime
    expires_at: datetime | None

    def is_usable(self, now: datetime) -> bool:
        """Whether points can be drawn from this lot at `now`. It is unusable from the instant it expires."""
        return self.remaining > 0 and (self.expires_at is None or self.expires_at > now)


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Points taken from one lot."""

    lot_id: int
    points: int


def draw_fifo(lots: Iterable[Lot], points: int, *, now: datetime) -> list[Draw]:
    """Draw `points` from the usable lots, oldest first by (earned_at, id).

    Raises:
        InsufficientPoints: the usable lots do not cover it.
    """
    assert points > 0, "a draw moves points"
    usable = sorted((lot for lot in lots if lot.is_usable(now)), key=lambda lot: (lot.earned_at, lot.id))
    available = sum(lot.remaining for lot in usable)
    if available < points:
        raise InsufficientPoints(requested=points, available=available)

    draws: list[Draw] = []
    missing = points
    for lot in usable:
        if missing == 0:
            break
        taken = min(lot.remaining, missing)
        draws.append(Draw(lot_id=lot.id, points=taken))
        missing -= taken

    assert sum(draw.points for draw in draws) == points
    return draws


def expiry_after_release(expires_at: datetime | None, *, now: datetime, grace: timedelta) -> datetime | None:
    """New expiry of a lot to which released or refunded points return.

    A lot that expired while its points were reserved expires `grace` from now, so that the customer can spend them.
    """
    if expires_at is None or expires_at > now:
        return expires_at
    return now + grace
