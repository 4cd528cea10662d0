"""Operations on one customer, and the hypothesis strategy that generates sequences of them.

No operation is excluded: every message can arrive at any time, late, twice, or without the one before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from hypothesis import strategies as st

from tests.faults import VendorFault


@dataclass(frozen=True, kw_only=True)
class Reward:
    """A reward. `step`: of variable pricing, whose customers always choose the cost. `limit`: per customer."""

    cost: int
    cap: int | None = None
    step: int | None = None
    limit: int | None = None


REWARDS = {
    "small": Reward(cost=30),
    "large": Reward(cost=70, step=10),
    "capped": Reward(cost=20, cap=1),
    "limited": Reward(cost=20, limit=1),
}
REDEEMED = ("small", "large", "capped", "capped", "limited", "limited")
"""The reward of each redemption; twice two of them compete for one place."""


class Outcome(Enum):
    """Result of an operation."""

    DONE = "it has happened, now or before"
    REFUSED = "a business rule excludes it"
    CLOSED = "too late for this attempt"
    WAIT = "an earlier attempt is undecided"
    CAPTURED = "a release came after the purchase"
    FAILED = "the call to Shopify failed"


@dataclass(frozen=True)
class Earn:
    """Points are awarded. `day` 0 is the oldest; a lot that expires has a day left."""

    points: int
    day: int
    expires: bool


@dataclass(frozen=True)
class Expire:
    """The lot at this position, modulo the number of lots that can expire, expires."""

    position: int


@dataclass(frozen=True)
class Sweep:
    """The activity `expire_points`, until it finds nothing more."""


@dataclass(frozen=True)
class Overdue:
    """The deadline of an attempt passes."""

    redemption: int
    attempt: int


@dataclass(frozen=True)
class Reserve:
    """The activity `reserve_points`."""

    redemption: int
    attempt: int


@dataclass(frozen=True)
class Generate:
    """The activity `generate_discount_code`."""

    redemption: int
    attempt: int
    fault: VendorFault | None = None


@dataclass(frozen=True)
class Release:
    """The compensation `release_points`."""

    redemption: int
    attempt: int


@dataclass(frozen=True)
class Void:
    """The compensation `void_discount_code`. Comes only after its release has returned True, as in the saga."""

    redemption: int
    attempt: int
    fault: VendorFault | None = None


@dataclass(frozen=True)
class Use:
    """An order uses the code of a captured redemption at Shopify. Its webhook does not arrive."""

    redemption: int


@dataclass(frozen=True)
class Refund:
    """A refund request, and the activities of its workflow."""

    redemption: int
    fault: VendorFault | None = None


@dataclass(frozen=True)
class Cancel:
    """An order used the code of a captured redemption and was cancelled; then the activities of the reissue."""

    redemption: int
    fault: VendorFault | None = None


Message = Reserve | Generate | Release | Void
Operation = Message | Earn | Expire | Sweep | Overdue | Use | Refund | Cancel
Operations = st.SearchStrategy[Sequence[Operation]]
Ids = tuple[int, int]
"""Redemption and attempt."""

# Weighted so that sequences get far: most points suffice, most attempts are first ones, most calls succeed.
_FAULTS = (VendorFault.LOST, VendorFault.LOST, VendorFault.DROPPED, VendorFault.UNAUTHORIZED, VendorFault.DOWN)
_redemptions = st.integers(0, len(REDEEMED) - 1)
_attempts = st.sampled_from((1, 1, 2, 3))
_faults = st.sampled_from(_FAULTS)
_faults_or_none = st.one_of(st.none(), st.none(), _faults)
_earnings = st.builds(Earn, st.integers(40, 150), day=st.integers(0, 3), expires=st.booleans())
_expiries = st.builds(Expire, st.integers(0, 5))
_sweeps = st.just(Sweep())
_overdues = st.builds(Overdue, _redemptions, _attempts)
_refunds = st.builds(Refund, _redemptions, _faults_or_none)
_uses = st.builds(Use, _redemptions)
_cancellations = st.builds(Cancel, _redemptions, st.sampled_from((None, None, VendorFault.LOST)))
_messages = st.one_of(
    st.builds(Reserve, _redemptions, _attempts),
    st.builds(Generate, _redemptions, _attempts, _faults_or_none),
    st.builds(Release, _redemptions, _attempts),
    st.builds(Void, _redemptions, _attempts, _faults_or_none),
)


@st.composite
def _attempt(draw: st.DrawFn) -> Sequence[Operation]:
    """One attempt in the order of the saga, cut short anywhere, with unrelated operations in the middle."""
    ids = (draw(_redemptions), draw(_attempts))
    endings = (_purchased, _refunded, _reissued, _failed, _failed, _compensated, _superseded)
    rest = draw(st.sampled_from(endings).flatmap(lambda ending: ending(ids)))
    expiry = (_expiries, _expiries, _expiries, _sweeps, _sweeps)
    meanwhile = draw(st.lists(st.one_of(*expiry, _earnings, _earnings, st.just(Overdue(*ids))), max_size=2))
    return [Reserve(*ids), *meanwhile, *rest[: len(rest) - draw(st.sampled_from((0, 0, 1, 2)))]]


def _purchased(ids: Ids) -> Operations:
    return _faults_or_none.map(lambda fault: [Generate(*ids, fault), Generate(*ids), Release(*ids)])


def _refunded(ids: Ids) -> Operations:
    redemption, _ = ids
    uses: Operations = st.sampled_from(([], [], [], [Use(redemption)]))
    refunds = _faults_or_none.map(lambda fault: [Refund(redemption, fault), Refund(redemption), Release(*ids)])
    codes: Operations = st.sampled_from(([], [], [Generate(*ids, VendorFault.LOST)]))
    return st.tuples(codes, uses, refunds).map(lambda rest: [*rest[0], Generate(*ids), *rest[1], *rest[2]])


def _reissued(ids: Ids) -> Operations:
    redemption, _ = ids
    refunds: Operations = st.sampled_from(([], [], [Refund(redemption)]))
    cancelled = st.tuples(_cancellations, refunds)
    return cancelled.map(lambda rest: [Generate(*ids), Cancel(redemption, rest[0].fault), Cancel(redemption), *rest[1]])


def _failed(ids: Ids) -> Operations:
    return _faults.map(lambda fault: [Generate(*ids, fault), Release(*ids), Void(*ids, fault), Void(*ids)])


def _compensated(ids: Ids) -> Operations:
    return st.just([Release(*ids), Void(*ids)])


def _superseded(ids: Ids) -> Operations:
    later = (ids[0], ids[1] + 1)
    return st.just([Reserve(*later), Release(*ids), Reserve(*later), Generate(*later), Void(*ids)])


_parts: Operations = st.one_of(
    *[_attempt()] * 4,
    st.one_of(_earnings, _expiries, _sweeps, _overdues, _uses).map(lambda operation: [operation]),
    st.one_of(_messages, _messages, _messages, _refunds).map(lambda message: [message, message]),
)
_awards = st.lists(_earnings, min_size=2, max_size=4)


@st.composite
def sequences(draw: st.DrawFn) -> Sequence[Operation]:
    """Some awards, then what happens."""
    parts = draw(st.lists(_parts, min_size=3, max_size=7))
    return [*draw(_awards), *(operation for part in parts for operation in part)]
