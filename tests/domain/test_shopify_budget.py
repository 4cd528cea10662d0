"""Calculation with Shopify budgets."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.shopify_budget import TOLERANCE, ShopifyBudget

COSTS = st.floats(1, 100)
PAUSES = st.floats(0, 30)
SECOND = timedelta(seconds=1)


@st.composite
def budgets(draw: st.DrawFn) -> ShopifyBudget:
    """Of a full, used, empty or overdrawn bucket."""
    rate = draw(st.floats(1, 2000))
    maximum = draw(st.floats(100, 40_000))
    used = draw(st.floats(0, 3))
    return ShopifyBudget(maximum=maximum, restore_rate=rate, full_in=timedelta(seconds=used * maximum / rate))


@given(budgets(), COSTS)
def test_the_cost_is_available_after_the_wait_and_not_before(budget: ShopifyBudget, cost: float) -> None:
    wait = budget.wait_for(cost)

    assert budget.after(wait).available >= cost - 0.01 * budget.restore_rate
    if wait > SECOND / 100:
        assert budget.after(wait - SECOND / 100).available < cost


@given(budgets(), st.lists(st.tuples(COSTS, PAUSES), max_size=30))
def test_calls_made_at_their_turns_never_exceed_the_bucket(
    budget: ShopifyBudget, calls: list[tuple[float, float]]
) -> None:
    """Turns are given one after the other, some of them in advance. The calls are then made in this order."""
    now, turns = 0.0, list[tuple[float, float]]()
    left = budget
    for cost, pause in calls:
        turns.append((now + left.wait_for(cost).total_seconds(), cost))
        left = left.take(cost).after(timedelta(seconds=pause))
        now += pause

    level, at = budget.available, 0.0
    for turn, cost in turns:
        level = min(budget.maximum, level + (turn - at) * budget.restore_rate) - cost
        at = turn
        assert level >= -0.01 * budget.restore_rate


@given(budgets(), COSTS)
def test_later_purchases_have_later_turns(budget: ShopifyBudget, cost: float) -> None:
    assert budget.take(cost).wait_for(cost) >= budget.wait_for(cost)


@given(budgets())
def test_an_unused_budget_becomes_full(budget: ShopifyBudget) -> None:
    assert budget.after(budget.full_in).available == budget.maximum


@given(budgets(), st.floats(-1, 1))
def test_only_figures_that_are_clearly_lower_refute_a_budget(budget: ShopifyBudget, share: float) -> None:
    reported = budget.take(share * budget.maximum) if share > 0 else budget.after(budget.full_in * -share)

    if share > TOLERANCE + 0.01:
        assert budget.is_refuted_by(reported)
    if share < TOLERANCE - 0.01:
        assert not budget.is_refuted_by(reported)


def test_another_plan_refutes_a_budget() -> None:
    standard = ShopifyBudget(maximum=2000, restore_rate=100, full_in=timedelta())

    assert standard.is_refuted_by(ShopifyBudget(maximum=4000, restore_rate=200, full_in=timedelta()))
