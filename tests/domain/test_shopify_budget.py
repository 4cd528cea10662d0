"""Calculation with Shopify budgets."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.shopify_budget import CLEARLY_LESS, CLEARLY_MORE, UNSEEN, ShopifyBudget

COSTS = st.floats(1, 100)
PAUSES = st.floats(0, 30)
DELAYS = st.floats(0, UNSEEN.total_seconds())
SECOND = timedelta(seconds=1)


@st.composite
def budgets(draw: st.DrawFn) -> ShopifyBudget:
    """Of a full, used, empty or overdrawn bucket."""
    rate = draw(st.floats(1, 2000))
    maximum = 100 + rate * draw(st.floats(1, 20))
    used = draw(st.floats(0, 3))
    return ShopifyBudget(maximum=maximum, restore_rate=rate, full_in=timedelta(seconds=used * maximum / rate))


@given(budgets(), COSTS)
def test_the_cost_is_available_after_the_wait_and_not_before(budget: ShopifyBudget, cost: float) -> None:
    wait = budget.wait_for(cost)

    assert budget.after(wait).available >= cost - 0.01 * budget.restore_rate
    if wait > SECOND / 100:
        assert budget.after(wait - SECOND / 100).available < cost


@given(budgets(), st.lists(st.tuples(COSTS, PAUSES, DELAYS), max_size=30))
def test_calls_made_soon_after_their_turns_never_exceed_the_bucket(
    budget: ShopifyBudget, calls: list[tuple[float, float, float]]
) -> None:
    """Turns are given one after the other, some of them in advance. The bucket sees each call some time later."""
    now, made = 0.0, list[tuple[float, float]]()
    left = budget
    for cost, pause, delay in calls:
        made.append((now + left.wait_for(cost).total_seconds() + delay, cost))
        left = left.take(cost).after(timedelta(seconds=pause))
        now += pause

    level, at = budget.available, 0.0
    for time, cost in sorted(made):
        level = min(budget.maximum, level + (time - at) * budget.restore_rate) - cost
        at = time
        assert level >= -0.01 * budget.restore_rate


@given(budgets(), COSTS)
def test_later_purchases_have_later_turns(budget: ShopifyBudget, cost: float) -> None:
    assert budget.take(cost).wait_for(cost) >= budget.wait_for(cost)


@given(budgets())
def test_an_unused_budget_becomes_full(budget: ShopifyBudget) -> None:
    assert budget.after(budget.full_in).available == budget.maximum


@pytest.mark.parametrize(
    ("known", "reported", "is_refuted"),
    [
        (0.5, 0.5 - CLEARLY_LESS - 0.01, True),
        (0.5, 0.5 - CLEARLY_LESS + 0.01, False),
        (0.5, 0.5 + CLEARLY_MORE - 0.01, False),
        (0.5, 0.5 + CLEARLY_MORE + 0.01, True),
        (0.0, 1.0, True),
        (-0.1, 1.0, False),
    ],
)
def test_only_figures_that_clearly_differ_refute_a_budget(known: float, reported: float, is_refuted: bool) -> None:
    """As shares of the maximum. While turns are given in advance, more is what they wait for."""

    def budget(available: float) -> ShopifyBudget:
        return ShopifyBudget(maximum=2000, restore_rate=100, full_in=20 * SECOND * (1 - available))

    assert budget(known).is_refuted_by(budget(reported)) is is_refuted


def test_another_plan_refutes_a_budget() -> None:
    standard = ShopifyBudget(maximum=2000, restore_rate=100, full_in=timedelta())

    assert standard.is_refuted_by(ShopifyBudget(maximum=4000, restore_rate=200, full_in=timedelta()))
