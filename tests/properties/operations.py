"""What can happen to one customer, and how hypothesis makes up lives out of it.

Nothing here is forbidden: every message can arrive at any time, late, twice, or without the one before it.
"""

from dataclasses import dataclass
from enum import Enum

from hypothesis import strategies as st


@dataclass(frozen=True, kw_only=True)
class Reward:
    """What a redemption buys, and how often all together can buy it."""

    cost: int
    cap: int | None = None


REWARDS = {"small": Reward(cost=30), "large": Reward(cost=70), "capped": Reward(cost=20, cap=1)}
BUYS = ("small", "large", "capped", "capped")
"""The reward of each redemption; two of them compete for one place."""


class Weather(Enum):
    """What Shopify does to the requests of one step."""

    FAIR = "executes and answers"
    LOST = "makes the discount, and the answer is lost"
    DROPPED = "does not make the discount, and nobody can tell"
    REFUSED = "refuses the token"
    DOWN = "refuses connections"


class Outcome(Enum):
    """How a step answered."""

    DONE = "it has happened, now or before"
    REFUSED = "a decided no"
    CLOSED = "too late for this attempt"
    WAIT = "an earlier attempt is undecided"
    CAPTURED = "a release came after the purchase"
    FAILED = "Shopify failed it"


@dataclass(frozen=True)
class Earn:
    """Points are awarded. `day` 0 is the oldest; an expiring lot has a day to live."""

    points: int
    day: int
    expires: bool


@dataclass(frozen=True)
class Expire:
    """One of the lots that expire does so: the `which`th, counted around."""

    which: int


@dataclass(frozen=True)
class Sweep:
    """The step `expire_points`, until it finds nothing more."""


@dataclass(frozen=True)
class Overdue:
    """The deadline of an attempt passes."""

    redemption: int
    attempt: int


@dataclass(frozen=True)
class Reserve:
    """The step `reserve_points`."""

    redemption: int
    attempt: int


@dataclass(frozen=True)
class Generate:
    """The step `generate_discount_code`."""

    redemption: int
    attempt: int
    weather: Weather = Weather.FAIR


@dataclass(frozen=True)
class Release:
    """The undo `release_points`."""

    redemption: int
    attempt: int


@dataclass(frozen=True)
class Void:
    """The undo `void_discount_code`. Comes only after its release has answered True, as in `workflows/saga.py`."""

    redemption: int
    attempt: int
    weather: Weather = Weather.FAIR


@dataclass(frozen=True)
class Use:
    """An order uses the code of a captured redemption at Shopify, and nobody has told us yet."""

    redemption: int


@dataclass(frozen=True)
class Refund:
    """Somebody wants a redemption refunded: the wish, and the steps of `workflows/refund_redemption.py`."""

    redemption: int
    weather: Weather = Weather.FAIR


Message = Reserve | Generate | Release | Void
Operation = Message | Earn | Expire | Sweep | Overdue | Use | Refund

# Weighted so that lives get somewhere: most points suffice, most attempts are first ones, most requests are answered.
_redemptions = st.integers(0, len(BUYS) - 1)
_attempts = st.sampled_from((1, 1, 2, 3))
_faults = st.sampled_from((Weather.LOST, Weather.LOST, Weather.DROPPED, Weather.REFUSED, Weather.DOWN))
_weathers = st.one_of(st.just(Weather.FAIR), st.just(Weather.FAIR), _faults)
_earnings = st.builds(Earn, st.integers(40, 150), day=st.integers(0, 3), expires=st.booleans())
_expiries = st.builds(Expire, st.integers(0, 5))
_sweeps = st.just(Sweep())
_overdues = st.builds(Overdue, _redemptions, _attempts)
_refunds = st.builds(Refund, _redemptions, _weathers)
_uses = st.builds(Use, _redemptions)
_messages = st.one_of(
    st.builds(Reserve, _redemptions, _attempts),
    st.builds(Generate, _redemptions, _attempts, _weathers),
    st.builds(Release, _redemptions, _attempts),
    st.builds(Void, _redemptions, _attempts, _weathers),
)


@st.composite
def _runs(draw: st.DrawFn) -> list[Operation]:
    """One attempt as a saga makes it, cut short anywhere, with something from outside in the middle."""
    whose = (draw(_redemptions), draw(_attempts))
    ends = (_bought, _taken_back, _given_up, _given_up, _undone, _overtaken)
    rest = draw(st.sampled_from(ends).flatmap(lambda end: end(*whose)))
    endings = (_expiries, _expiries, _expiries, _sweeps, _sweeps)
    others = st.one_of(*endings, _earnings, _earnings, st.just(Overdue(*whose)))
    meanwhile = draw(st.lists(others, max_size=2))
    return [Reserve(*whose), *meanwhile, *rest[: len(rest) - draw(st.sampled_from((0, 0, 1, 2)))]]


def _bought(redemption: int, attempt: int) -> st.SearchStrategy[list[Message]]:
    whose = (redemption, attempt)
    return _weathers.map(lambda weather: [Generate(*whose, weather), Generate(*whose), Release(*whose)])


def _taken_back(redemption: int, attempt: int) -> st.SearchStrategy[list[Operation]]:
    again: list[Operation] = [Refund(redemption), Release(redemption, attempt)]
    uses: st.SearchStrategy[list[Operation]] = st.sampled_from(([], [], [], [Use(redemption)]))
    refunds = _weathers.map(lambda weather: [Refund(redemption, weather), *again])
    return st.tuples(uses, refunds).map(lambda rest: [Generate(redemption, attempt), *rest[0], *rest[1]])


def _given_up(redemption: int, attempt: int) -> st.SearchStrategy[list[Message]]:
    whose = (redemption, attempt)
    return _faults.map(lambda fault: [Generate(*whose, fault), Release(*whose), Void(*whose, fault), Void(*whose)])


def _undone(redemption: int, attempt: int) -> st.SearchStrategy[list[Message]]:
    return st.just([Release(redemption, attempt), Void(redemption, attempt)])


def _overtaken(redemption: int, attempt: int) -> st.SearchStrategy[list[Message]]:
    earlier, later = (redemption, attempt), (redemption, attempt + 1)
    return st.just([Reserve(*later), Release(*earlier), Reserve(*later), Generate(*later), Void(*earlier)])


_turns: st.SearchStrategy[list[Operation]] = st.one_of(
    *[_runs()] * 4,
    st.one_of(_earnings, _expiries, _sweeps, _overdues, _uses).map(lambda operation: [operation]),
    st.one_of(_messages, _messages, _messages, _refunds).map(lambda message: [message, message]),
)
_awards = st.lists(_earnings, min_size=2, max_size=4)


@st.composite
def lives(draw: st.DrawFn) -> list[Operation]:
    """Some points to begin with, and then what happens."""
    turns = draw(st.lists(_turns, min_size=3, max_size=7))
    return [*draw(_awards), *(operation for turn in turns for operation in turn)]
