"""Turns in a shop's Shopify budget, without a workflow."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from activities.attempt import Attempt
from activities.drift import COMPARED_EVERY, Drift
from activities.metafields import Metafields
from activities.senders import MetafieldsSender
from clients.outcomes import NotExecuted
from db import transactions
from db.deliveries import EventToSend, SendRule, begin_sends
from db.metafields import mark_stale
from db.shopify_budgets import defer_metafield, find_budget, store_figures
from db.tables import DiscountCode
from db.vault import Vault
from domain.channels import Channel
from domain.events import EventKind
from domain.ids import new_redemption_id
from domain.shopify_budget import CLEARLY_LESS, CREATION_COST, NoTurn, ShopifyBudget
from tests.builders import a_customer, a_lot, a_shop
from tests.steps import Steps
from tests.waiting import locks_waited_for, wait_until

SECOND = timedelta(seconds=1)


async def set_budget(steps: Steps, *, available: float, maximum: float = 100, restore_rate: float = 10) -> None:
    full_in = timedelta(seconds=(maximum - available) / restore_rate)
    budget = ShopifyBudget(maximum=maximum, restore_rate=restore_rate, full_in=full_in)
    async with steps.service.store() as session:
        await store_figures(session, steps.first.shop_id, budget)


async def test_a_code_is_requested_at_its_turn_and_not_before(steps: Steps) -> None:
    await set_budget(steps, available=0)
    await steps.points.reserve_points(steps.first)

    with pytest.raises(NotExecuted) as early:
        await steps.discounts.generate_discount_code(steps.first)

    assert early.value.retry_after is not None
    assert SECOND / 2 < early.value.retry_after <= SECOND
    assert await steps.service.requests("shopify") == 0
    await steps.service.let_time_pass(SECOND)
    await steps.discounts.generate_discount_code(steps.first)
    assert (await steps.row()).status == "active"


async def test_a_repeated_reservation_keeps_its_turn(steps: Steps) -> None:
    await set_budget(steps, available=0)

    await steps.points.reserve_points(steps.first)
    [before] = await steps.codes()
    await steps.points.reserve_points(steps.first)

    [after] = await steps.codes()
    assert after.not_before == before.not_before


async def test_no_turn_before_the_deadline_changes_nothing(steps: Steps) -> None:
    await set_budget(steps, available=-10_000)

    refused = await steps.points.reserve_points(steps.first)

    assert isinstance(refused, NoTurn)
    assert 990 * SECOND < refused.wait <= 1001 * SECOND
    assert (await steps.shop.lots(), await steps.shop.redemptions(), await steps.codes()) == ([300, 400], [], [])


async def parallel_attempts(steps: Steps, number: int) -> list[Attempt]:
    """Attempts of different customers of one new shop."""
    shop = await steps.service.open_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(number))))
    shop_id = (await shop.row()).id
    ids = [{"redemption_id": new_redemption_id(), "customer_id": one, "shop_id": shop_id} for one in shop.customers]
    return [steps.first.model_copy(update=one) for one in ids]


@pytest.mark.parametrize("full_in", [0, 7])
async def test_turns_of_parallel_purchases_are_those_of_the_domain(steps: Steps, full_in: int) -> None:
    """The statement calculates with the locked row what the domain calculates for one purchase after the other."""
    attempts = await parallel_attempts(steps, 12)
    shop_id = attempts[0].shop_id
    budget = ShopifyBudget(maximum=100, restore_rate=10, full_in=full_in * SECOND)
    async with steps.service.store() as session:
        await store_figures(session, shop_id, budget)
        began = await transactions.now(session)

    assert await asyncio.gather(*(steps.points.reserve_points(one) for one in attempts)) == [None] * 12

    async with steps.service.store() as session:
        codes = await session.scalars(select(DiscountCode).where(DiscountCode.shop_id == shop_id))
    turns = sorted(code.not_before for code in codes if code.not_before is not None)
    assert len(turns) == 12
    for turn in turns:
        assert abs(max(turn, began) - began - budget.wait_for(CREATION_COST)) < SECOND / 2, turns
        budget = budget.take(CREATION_COST)


async def test_figures_leave_their_turns_to_purchases_in_progress(steps: Steps) -> None:
    """Shopify cannot know of a code that is not requested yet."""
    attempts = await parallel_attempts(steps, 5)
    full = ShopifyBudget(maximum=200, restore_rate=0.1, full_in=timedelta())
    async with steps.service.store() as session:
        await store_figures(session, attempts[0].shop_id, replace(full, full_in=1000 * SECOND))
    await asyncio.gather(*(steps.points.reserve_points(one) for one in attempts))

    async with steps.service.store() as session:
        await store_figures(session, attempts[0].shop_id, full)
        budget = await find_budget(session, attempts[0].shop_id)

    assert budget is not None
    assert abs(budget.available - (1 - CLEARLY_LESS) * 200 + 5 * CREATION_COST) < 1


async def test_figures_do_not_let_a_purchase_overtake_turns_given_in_advance(steps: Steps) -> None:
    first, second = await parallel_attempts(steps, 2)
    full = ShopifyBudget(maximum=200, restore_rate=10, full_in=timedelta())
    async with steps.service.store() as session:
        await store_figures(session, first.shop_id, replace(full, full_in=30 * SECOND))
        await steps.points.reserve_points(first)
        await store_figures(session, first.shop_id, full)
    await steps.points.reserve_points(second)

    async with steps.service.store() as session:
        codes = select(DiscountCode).where(DiscountCode.shop_id == first.shop_id)
        turns = {code.redemption_id: code.not_before for code in await session.scalars(codes)}
    earlier, later = turns[first.redemption_id], turns[second.redemption_id]
    assert earlier is not None
    assert later == earlier + SECOND


@pytest.mark.parametrize(("available", "are_written", "are_compared"), [(80, 1, 1), (60, 1, 0), (40, 0, 0)])
async def test_purchases_come_before_metafields_and_these_before_sweeps(
    steps: Steps, available: float, are_written: int, are_compared: int
) -> None:
    await steps.capture()
    async with steps.service.store.begin() as session:
        await mark_stale(session, steps.first.shop_id, steps.first.customer_id)
    await steps.service.let_time_pass(COMPARED_EVERY)
    await set_budget(steps, available=available, restore_rate=0.1)
    store, vault = steps.service.store, Vault(steps.service.settings.encryption_keys)
    before = await steps.service.requests("shopify")

    await Drift(store, vault, steps.shopify).check_codes(None)
    compared = await steps.service.requests("shopify") - before
    written = await Metafields(store, MetafieldsSender(store, vault, steps.shopify)).sync_metafields(None)

    assert (written, compared) == (are_written, are_compared)


async def test_metafields_without_a_turn_are_retried_one_after_the_other(steps: Steps) -> None:
    """If all were retried at once, one would find a turn, and the others would wait again."""
    await set_budget(steps, available=10)

    async with steps.service.store() as session:
        waits = [await defer_metafield(session, steps.first.shop_id) for _ in range(4)]

    for number, wait in enumerate(waits):
        until_half_is_available = 4 * SECOND
        assert abs(wait - until_half_is_available - number * SECOND) < SECOND / 2, waits


async def test_a_metafield_waits_if_a_purchase_takes_its_turn_meanwhile(steps: Steps) -> None:
    attempt = steps.first.model_copy(update={"channels": [Channel.METAFIELDS]})
    await steps.capture(attempt)
    await set_budget(steps, available=60, restore_rate=0.1)
    store = steps.service.store
    sender = MetafieldsSender(store, Vault(steps.service.settings.encryption_keys), steps.shopify)
    rules: dict[str, SendRule] = {Channel.METAFIELDS: sender.rule}

    async def begin() -> EventToSend | None:
        async with store() as session:
            ids = (attempt.shop_id, attempt.redemption_id, EventKind.REWARD_REDEEMED)
            return await begin_sends(session, *ids, rules)

    async with store.begin() as session:
        taken = ShopifyBudget(maximum=100, restore_rate=0.1, full_in=timedelta(seconds=600))
        await store_figures(session, attempt.shop_id, taken)
        sends = asyncio.ensure_future(begin())
        await wait_until(lambda: locks_waited_for(store))
    event = await sends

    assert event is not None
    requests = await steps.service.requests("shopify")
    with pytest.raises(NotExecuted, match="left to purchases"):
        await sender.send(event)
    assert await steps.service.requests("shopify") == requests
