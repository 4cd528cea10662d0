"""The ladder of a reward with variable pricing."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from domain.ladder import Ladder
from domain.money import decimals_of, is_exact

CURRENCIES = ("GBP", "JPY", "KWD", "CLF")
_steps = st.integers(1, 1_000)


@st.composite
def ladders(draw: st.DrawFn, currency: str | None = None) -> Ladder:
    """A ladder as an import accepts it: bounds are multiples of the step, and there is at least one step."""
    step, first = draw(_steps), draw(st.integers(1, 50))
    decimals = decimals_of(currency or draw(st.sampled_from(CURRENCIES)))
    value = Decimal(draw(st.integers(1, 10_000))).scaleb(-decimals)
    last = draw(st.none() | st.integers(first, 200))
    max_value = draw(st.none() | st.integers(first, 200).map(lambda steps: value * steps))
    return Ladder.of(
        step=step,
        value_per_step=value,
        min_points=draw(st.sampled_from([None, first * step])) if first == 1 else first * step,
        max_points=None if last is None else last * step,
        max_value=max_value,
    )


def steps_of(ladder: Ladder) -> range:
    """Every valid number of points, up to 300 steps."""
    last = ladder.step * 300 if ladder.last is None else ladder.last
    return range(ladder.first, last + 1, ladder.step)


@given(st.data(), st.sampled_from(CURRENCIES))
def test_every_value_is_exact_in_the_currency(data: st.DataObject, currency: str) -> None:
    ladder = data.draw(ladders(currency))
    points = data.draw(st.sampled_from(steps_of(ladder)))

    value = ladder.value_of(points)

    assert is_exact(value, currency)
    assert value / ladder.value_per_step == points // ladder.step


@given(ladders(), st.integers(0, 400_000))
def test_the_nearest_are_valid_and_none_is_nearer(ladder: Ladder, points: int) -> None:
    nearest, valid = ladder.nearest(points), steps_of(ladder)

    assert all(one in valid for one in nearest if one <= valid[-1])
    below = [one for one in valid if one <= points]
    above = [one for one in valid if one >= points]
    if points <= valid[-1]:
        assert nearest == sorted({*below[-1:], *above[:1]})
    elif ladder.last is not None:
        assert nearest == [ladder.last]


@given(ladders(), st.integers(0, 400_000))
def test_the_best_is_the_most_that_the_balance_covers(ladder: Ladder, balance: int) -> None:
    last = balance if ladder.last is None else min(balance, ladder.last)

    assert ladder.best(balance) == max(range(ladder.first, last + 1, ladder.step), default=None)


@given(ladders(), st.decimals("0.01", 100_000, places=2))
def test_no_step_is_worth_more_than_the_maximum_value(ladder: Ladder, max_value: Decimal) -> None:
    bounded = Ladder.of(
        step=ladder.step, value_per_step=ladder.value_per_step, min_points=None, max_points=None, max_value=max_value
    )

    assert bounded.last is not None
    assert bounded.value_of(bounded.last) <= max_value < bounded.value_of(bounded.last + bounded.step)
