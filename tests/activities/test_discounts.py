"""Creating and voiding codes, with unknown outcomes and overlapping calls."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, update

from clients.outcomes import NotExecuted, Unknown
from db.tables import Customer, DiscountCode, Redemption, Reward
from domain.errors import RedemptionClosed
from tests.faults import CREATE_CODE, VendorFault
from tests.steps import Steps
from tests.waiting import locks_waited_for, wait_until


async def generate_slowly(steps: Steps, seconds: float = 0.5) -> "asyncio.Future[None]":
    """A generation whose request waits at Shopify for so long, and is not executed yet."""
    await steps.points.reserve_points(steps.first)
    await steps.service.inject("shopify", VendorFault.SLOW, operation=CREATE_CODE, seconds=seconds)
    generation = asyncio.ensure_future(steps.discounts.generate_discount_code(steps.first))
    await wait_until(lambda: steps.service.requests("shopify"))
    return generation


async def lose_a_code(steps: Steps, *, times: int = 1) -> None:
    """Release an attempt whose code exists at Shopify, after its response was lost."""
    await steps.points.reserve_points(steps.first)
    await steps.service.inject("shopify", VendorFault.LOST, operation=CREATE_CODE, times=times)
    with pytest.raises(Unknown):
        await steps.discounts.generate_discount_code(steps.first)
    await steps.points.release_points(steps.first)


async def states(steps: Steps) -> list[str]:
    return [code.state for code in await steps.codes()]


async def statuses(steps: Steps) -> list[str]:
    """Statuses of the discounts at Shopify, without deleted ones."""
    return [one["status"] for one in await steps.shop.discounts() if one["status"] != "deleted"]


async def test_overlapping_generations_leave_one_code(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.service.inject("shopify", VendorFault.SLOW, operation=CREATE_CODE, seconds=0.3, times=2)

    generations = (steps.discounts.generate_discount_code(steps.first) for _ in range(3))
    await asyncio.gather(*generations, return_exceptions=True)
    await steps.discounts.generate_discount_code(steps.first)
    before = await steps.shop.discounts()
    await steps.discounts.generate_discount_code(steps.first)

    assert await steps.shop.discounts() == before
    assert (await steps.row()).status == "active"
    assert len(await steps.shop.discounts("live")) == 1
    assert await steps.shop.deliveries() == {"klaviyo": "pending"}


async def test_released_points_buy_no_code(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.points.release_points(steps.first)

    with pytest.raises(RedemptionClosed):
        await steps.discounts.generate_discount_code(steps.first)

    assert await steps.shop.discounts() == []


async def test_a_release_during_the_creation_deletes_the_code(steps: Steps) -> None:
    generation = await generate_slowly(steps)

    assert await steps.points.release_points(steps.first)

    with pytest.raises(RedemptionClosed):
        await generation
    assert await steps.shop.discounts("live") == []
    assert await steps.shop.lots() == [300, 400]


async def test_a_deadline_during_the_creation_deletes_the_code(steps: Steps) -> None:
    generation = await generate_slowly(steps)
    await steps.change_row(deadline=func.now() - timedelta(seconds=1))

    with pytest.raises(RedemptionClosed):
        await generation

    assert (await steps.row()).status == "pending"
    assert await steps.shop.discounts("live") == []


async def test_a_captured_attempt_cannot_be_released(steps: Steps) -> None:
    await steps.capture()

    assert await steps.points.release_points(steps.first) is False

    assert len(await steps.shop.discounts("live")) == 1
    assert await steps.shop.lots() == [0, 200]


async def test_compensation_does_not_void_the_next_attempts_code(steps: Steps) -> None:
    await lose_a_code(steps)
    await steps.capture(steps.second)

    assert await steps.points.release_points(steps.first) is True
    await steps.discounts.void_discount_code(steps.first)

    fenced, live = await steps.codes()
    assert (fenced.state, live.state) == ("fenced", "live")
    assert [one["code"] for one in await steps.shop.discounts("live")] == [live.code]


async def test_a_captured_redemption_is_not_captured_again(steps: Steps) -> None:
    await steps.capture()

    assert await steps.points.reserve_points(steps.second) is None
    await steps.discounts.generate_discount_code(steps.second)

    assert await steps.shop.lots() == [0, 200]
    assert len(await steps.shop.discounts()) == 1


async def create_discount(steps: Steps, **changes: Any) -> str:
    """Create the discount with other values, then generate. Returns its code."""
    await steps.points.reserve_points(steps.first)
    store, discount = await steps.planned_discount()
    await steps.shopify.create_discount(store, replace(discount, **changes))
    with pytest.raises(NotExecuted):
        await steps.discounts.generate_discount_code(steps.first)
    await steps.discounts.generate_discount_code(steps.first)
    return discount.code


async def test_a_code_taken_by_another_discount_is_replaced(steps: Steps) -> None:
    taken = await create_discount(steps, redemption_id="cr_of_somebody_else")

    foreign, live = await steps.codes()
    assert (foreign.code, foreign.state, live.state) == (taken, "foreign", "live")
    assert foreign.code != live.code
    assert {one["code"] for one in await steps.shop.discounts("live")} == {foreign.code, live.code}


@pytest.mark.parametrize("change", [{"customer_id": "999"}, {"amount": Decimal("50.00")}], ids=str)
async def test_a_discount_with_other_values_is_replaced(steps: Steps, change: dict[str, Any]) -> None:
    await create_discount(steps, **change)

    [live] = await steps.shop.discounts("live")
    assert live["customers"] == [steps.first.customer_id]
    assert live["asked"]["customerGets"]["value"]["discountAmount"]["amount"] == "5.00"


async def test_a_changed_price_does_not_replace_the_code(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.change_row(discount_type="free_product", discount_amount=None, product_variant_id="99")
    await steps.service.inject("shopify", VendorFault.LOST, operation=CREATE_CODE)
    with pytest.raises(Unknown):
        await steps.discounts.generate_discount_code(steps.first)
    [created] = await steps.shop.discounts("live")
    await steps.shop.set_price("99", "99.00")

    await steps.discounts.generate_discount_code(steps.first)

    [live] = await steps.shop.discounts("live")
    assert live["id"] == created["id"]
    assert live["asked"]["customerGets"]["value"]["discountAmount"]["amount"] == "10.00"
    assert (await steps.row()).status == "active"


async def test_a_code_never_requested_is_voided_without_shopify(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.points.release_points(steps.first)

    assert await steps.discounts.void_discount_code(steps.first)

    assert await steps.service.requests("shopify") == 0
    assert await states(steps) == ["void"]


async def test_the_fence_prevents_a_late_creation(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.service.inject("shopify", VendorFault.LATE, operation=CREATE_CODE, seconds=1)
    with pytest.raises(Unknown):
        await steps.discounts.generate_discount_code(steps.first)
    await steps.points.release_points(steps.first)

    assert await steps.discounts.void_discount_code(steps.first)
    assert await steps.discounts.void_discount_code(steps.first)

    await asyncio.sleep(1.2)  # the late execution is rejected by now
    assert [one["status"] for one in await steps.shop.discounts()] == ["expired"]
    assert await states(steps) == ["fenced"]


async def test_a_creation_cannot_replace_its_fence(steps: Steps) -> None:
    generation = await generate_slowly(steps, seconds=1.5)
    await steps.points.release_points(steps.first)

    assert await steps.discounts.void_discount_code(steps.first)

    with pytest.raises(RedemptionClosed):
        await generation
    assert await states(steps) == ["fenced"]
    assert [one["status"] for one in await steps.shop.discounts()] == ["expired"]


async def test_a_code_voided_before_its_request_is_not_requested(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    mine = DiscountCode.redemption_id == steps.first.redemption_id
    async with steps.service.store.begin() as session:
        await session.execute(select(DiscountCode).where(mine).with_for_update())
        generation = asyncio.ensure_future(steps.discounts.generate_discount_code(steps.first))
        await steps.points.release_points(steps.first)
        await session.execute(update(DiscountCode).where(mine).values(state="void"))

    with pytest.raises(RedemptionClosed):
        await generation
    assert await steps.service.requests("shopify") == 0


async def test_the_fence_works_after_a_change_of_the_reward(steps: Steps) -> None:
    await lose_a_code(steps)
    async with steps.service.store.begin() as session:
        mine = Reward.shop_id == steps.first.shop_id
        await session.execute(update(Reward).where(mine).values(discount_amount=Decimal("6.00")))
    await steps.capture(steps.second)

    assert await steps.discounts.void_discount_code(steps.first)

    _, live = await steps.codes()
    assert [one["code"] for one in await steps.shop.discounts("live")] == [live.code]


async def test_either_the_capture_or_the_release_wins(steps: Steps) -> None:
    for number in range(1, 8):
        attempt = steps.first.model_copy(update={"number": number})
        await steps.points.reserve_points(attempt)

        _, released = await asyncio.gather(
            steps.discounts.generate_discount_code(attempt),
            steps.points.release_points(attempt),
            return_exceptions=True,
        )

        live = await steps.shop.discounts("live")
        assert released in (True, False)
        assert (len(live), await steps.shop.balance()) == ((0, 700) if released else (1, 200))
        if not released:
            return


async def test_a_capture_locks_the_customer_before_the_redemption(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    async with steps.service.store.begin() as session:
        mine = Customer.id == steps.first.customer_id
        await session.execute(select(Customer).where(mine).with_for_update())
        generation = asyncio.ensure_future(steps.discounts.generate_discount_code(steps.first))
        await wait_until(lambda: steps.shop.discounts("live"))
        await wait_until(lambda: locks_waited_for(steps.service.store))

        # In the other order this would be a deadlock.
        row = select(Redemption).where(Redemption.id == steps.first.redemption_id)
        await session.execute(row.with_for_update(nowait=True))

    await generation
    assert (await steps.row()).status == "active"


async def test_voiding_continues_after_a_lost_response(steps: Steps) -> None:
    await lose_a_code(steps, times=2)
    with pytest.raises(Unknown):
        await steps.discounts.void_discount_code(steps.first)

    assert await steps.discounts.void_discount_code(steps.first)

    assert await statuses(steps) == ["expired"]
