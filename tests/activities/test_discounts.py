"""Making codes and making them impossible, when answers are lost and tries overlap."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from clients.outcomes import NotExecuted, Unknown
from clients.shopify import Store
from db.tables import Customer, DiscountCode, Redemption, Reward
from db.vault import Vault
from domain.discounts import Discount, DiscountType
from domain.errors import RedemptionClosed
from tests.activities.conftest import Steps
from tests.service import Service, until


async def codes(service: Service, steps: Steps) -> list[DiscountCode]:
    query = select(DiscountCode).where(DiscountCode.redemption_id == steps.first.redemption_id)
    async with service.store() as session:
        return list(await session.scalars(query.order_by(DiscountCode.id)))


async def planned(service: Service, steps: Steps) -> tuple[Store, Discount]:
    """What Shopify will be asked for."""
    [code] = await codes(service, steps)
    row, shop = await steps.row(), await service.caller(steps.shop.full_key)
    discount = Discount(
        code=code.code,
        redemption_id=row.id,
        title=row.reward_name,
        type=DiscountType.FIXED_AMOUNT,
        amount=row.discount_amount,
        minimum_spend=None,
        product_variant_id=None,
        customer_id=row.customer_id,
        starts_at=row.created_at,
        ends_at=row.expires_at,
    )
    token = Vault(service.settings.encryption_keys).open(shop, "shopify", "access_token")
    return Store(shop.domain, token), discount


async def a_lost_answer_and_a_release(service: Service, steps: Steps, *, times: int) -> None:
    """The first attempt's code is live at Shopify, which nobody heard, and its points are back."""
    await steps.points.reserve_points(steps.first)
    await service.fault("shopify", operation="discountCodeBasicCreate", kind="execute_then_drop", times=times)
    with pytest.raises(Unknown):
        await steps.discounts.generate_discount_code(steps.first)
    await steps.points.release_points(steps.first)


async def test_generating_twice_makes_one_code_and_one_set_of_deliveries(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)

    await steps.discounts.generate_discount_code(steps.first)
    await steps.discounts.generate_discount_code(steps.first)

    assert len(await steps.shop.discounts()) == 1
    assert await steps.shop.deliveries() == {"klaviyo": "pending"}


async def test_overlapping_tries_make_one_code_and_none_deletes_the_others(service: Service, steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await service.fault("shopify", operation="discountCodeBasicCreate", kind="latency", seconds=0.3, times=2)

    tries = (steps.discounts.generate_discount_code(steps.first) for _ in range(3))
    await asyncio.gather(*tries, return_exceptions=True)
    await steps.discounts.generate_discount_code(steps.first)

    assert (await steps.row()).status == "active"
    assert len(await steps.shop.discounts("live")) == 1


async def test_a_generate_that_finds_the_points_released_makes_no_code(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.points.release_points(steps.first)

    with pytest.raises(RedemptionClosed):
        await steps.discounts.generate_discount_code(steps.first)

    assert await steps.shop.discounts() == []


async def test_a_generate_that_loses_to_the_release_voids_what_it_made(service: Service, steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await service.fault("shopify", operation="discountCodeBasicCreate", kind="latency", seconds=0.5)
    generate = asyncio.ensure_future(steps.discounts.generate_discount_code(steps.first))
    await asyncio.sleep(0.2)  # inside the latency: Shopify has been asked and has not answered

    assert await steps.points.release_points(steps.first)

    with pytest.raises(RedemptionClosed):
        await generate
    assert await steps.shop.discounts("live") == []
    assert await steps.shop.lots() == [300, 400]


async def test_a_code_that_is_ready_after_the_deadline_is_not_captured(service: Service, steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await service.fault("shopify", operation="discountCodeBasicCreate", kind="latency", seconds=0.5)
    generate = asyncio.ensure_future(steps.discounts.generate_discount_code(steps.first))
    await asyncio.sleep(0.2)  # inside the latency: Shopify has been asked and has not answered
    async with service.store.begin() as session:
        mine = Redemption.id == steps.first.redemption_id
        await session.execute(update(Redemption).where(mine).values(deadline=func.now() - timedelta(seconds=1)))

    with pytest.raises(RedemptionClosed):
        await generate

    assert (await steps.row()).status == "pending"
    assert await steps.shop.discounts("live") == []


async def test_a_release_after_the_capture_turns_the_saga_forward(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.discounts.generate_discount_code(steps.first)

    assert await steps.points.release_points(steps.first) is False

    assert len(await steps.shop.discounts("live")) == 1
    assert await steps.shop.lots() == [0, 200]


async def test_an_attempt_that_failed_does_not_take_the_next_ones_capture_for_its_own(
    service: Service, steps: Steps
) -> None:
    await a_lost_answer_and_a_release(service, steps, times=1)
    await steps.points.reserve_points(steps.second)
    await steps.discounts.generate_discount_code(steps.second)

    assert await steps.points.release_points(steps.first) is True
    await steps.discounts.void_discount_code(steps.first)

    assert len(await steps.shop.discounts("live")) == 1


async def test_a_new_attempt_of_a_captured_redemption_buys_nothing_more(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.discounts.generate_discount_code(steps.first)

    assert await steps.points.reserve_points(steps.second) is None
    await steps.discounts.generate_discount_code(steps.second)

    assert await steps.shop.lots() == [0, 200]
    assert len(await steps.shop.discounts()) == 1


async def test_somebody_elses_discount_with_our_code_is_left_alone_and_ours_gets_another(
    service: Service, steps: Steps
) -> None:
    await steps.points.reserve_points(steps.first)
    store, ours = await planned(service, steps)
    await steps.shopify.create_discount(store, replace(ours, redemption_id="cr_of_somebody_else"))

    with pytest.raises(NotExecuted):
        await steps.discounts.generate_discount_code(steps.first)
    await steps.discounts.generate_discount_code(steps.first)

    foreign, live = await codes(service, steps)
    assert (foreign.code, foreign.state, live.state) == (ours.code, "foreign", "live")
    assert foreign.code != live.code
    assert {one["code"] for one in await steps.shop.discounts("live")} == {foreign.code, live.code}


@pytest.mark.parametrize("change", [{"customer_id": "999"}, {"amount": Decimal("50.00")}], ids=str)
async def test_a_discount_that_is_not_as_it_was_asked_for_is_not_given_to_the_customer(
    service: Service, steps: Steps, change: dict[str, Any]
) -> None:
    await steps.points.reserve_points(steps.first)
    store, ours = await planned(service, steps)
    await steps.shopify.create_discount(store, replace(ours, **change))

    with pytest.raises(NotExecuted):
        await steps.discounts.generate_discount_code(steps.first)
    await steps.discounts.generate_discount_code(steps.first)

    [live] = await steps.shop.discounts("live")
    assert live["customers"] == [steps.first.customer_id]
    assert live["asked"]["customerGets"]["value"]["discountAmount"]["amount"] == "5.00"


async def test_a_code_that_was_never_asked_for_is_voided_without_asking_shopify(service: Service, steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.points.release_points(steps.first)

    assert await steps.discounts.void_discount_code(steps.first)

    assert (await service.vendor("shopify"))["requests"] == 0
    assert [code.state for code in await codes(service, steps)] == ["void"]


async def test_a_code_of_unknown_outcome_is_fenced_against_its_late_commit(service: Service, steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await service.fault("shopify", operation="discountCodeBasicCreate", kind="execute_late", seconds=1)
    with pytest.raises(Unknown):
        await steps.discounts.generate_discount_code(steps.first)
    await steps.points.release_points(steps.first)

    assert await steps.discounts.void_discount_code(steps.first)
    assert await steps.discounts.void_discount_code(steps.first)

    await asyncio.sleep(1.2)  # the late execution has come by now, and met the fence
    assert [one["status"] for one in await steps.shop.discounts()] == ["expired"]
    assert [code.state for code in await codes(service, steps)] == ["fenced"]


async def test_a_creation_that_meets_its_own_fence_changes_nothing(service: Service, steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await service.fault("shopify", operation="discountCodeBasicCreate", kind="latency", seconds=0.7)
    generate = asyncio.ensure_future(steps.discounts.generate_discount_code(steps.first))
    await asyncio.sleep(0.2)  # inside the latency: Shopify has been asked and has not executed
    await steps.points.release_points(steps.first)

    assert await steps.discounts.void_discount_code(steps.first)

    with pytest.raises(RedemptionClosed):
        await generate
    assert [code.state for code in await codes(service, steps)] == ["fenced"]
    assert [one["status"] for one in await steps.shop.discounts()] == ["expired"]


async def test_a_code_voided_while_a_slow_try_was_about_to_ask_is_never_asked_for(
    service: Service, steps: Steps
) -> None:
    await steps.points.reserve_points(steps.first)
    mine = DiscountCode.redemption_id == steps.first.redemption_id
    async with service.store.begin() as session:
        await session.execute(select(DiscountCode).where(mine).with_for_update())
        generate = asyncio.ensure_future(steps.discounts.generate_discount_code(steps.first))
        await steps.points.release_points(steps.first)
        await session.execute(update(DiscountCode).where(mine).values(state="void"))

    with pytest.raises(RedemptionClosed):
        await generate
    assert (await service.vendor("shopify"))["requests"] == 0


async def test_the_fence_knows_its_code_after_the_reward_has_changed(service: Service, steps: Steps) -> None:
    await a_lost_answer_and_a_release(service, steps, times=1)
    async with service.store.begin() as session:
        mine = Reward.shop_id == steps.first.shop_id
        await session.execute(update(Reward).where(mine).values(discount_amount=Decimal("6.00")))
    await steps.points.reserve_points(steps.second)
    await steps.discounts.generate_discount_code(steps.second)

    assert await steps.discounts.void_discount_code(steps.first)

    _, live = await codes(service, steps)
    assert [one["code"] for one in await steps.shop.discounts("live")] == [live.code]


async def test_captures_and_releases_that_race_never_deadlock_and_never_both_win(steps: Steps) -> None:
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


async def test_a_capture_waits_for_the_customer_before_it_touches_the_redemption(
    service: Service, steps: Steps
) -> None:
    await steps.points.reserve_points(steps.first)
    async with service.store.begin() as session:
        mine = Customer.id == steps.first.customer_id
        await session.execute(select(Customer).where(mine).with_for_update())
        generate = asyncio.ensure_future(steps.discounts.generate_discount_code(steps.first))
        await until(lambda: steps.shop.discounts("live"))
        await until(lambda: _somebody_waits(service))

        # Locked the other way round, the two would wait for each other.
        row = select(Redemption).where(Redemption.id == steps.first.redemption_id)
        await session.execute(row.with_for_update(nowait=True))

    await generate
    assert (await steps.row()).status == "active"


async def _somebody_waits(service: Service) -> bool:
    async with service.store() as session:
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return (await session.execute(waiting)).scalar_one() > 0


async def test_the_fence_goes_on_where_a_lost_answer_left_it(service: Service, steps: Steps) -> None:
    await a_lost_answer_and_a_release(service, steps, times=2)
    with pytest.raises(Unknown):
        await steps.discounts.void_discount_code(steps.first)

    assert await steps.discounts.void_discount_code(steps.first)

    assert [one["status"] for one in await steps.shop.discounts() if one["status"] != "deleted"] == ["expired"]


async def test_the_fence_of_one_attempt_never_touches_the_next_ones_code(service: Service, steps: Steps) -> None:
    await a_lost_answer_and_a_release(service, steps, times=1)
    await steps.points.reserve_points(steps.second)
    await steps.discounts.generate_discount_code(steps.second)

    assert await steps.discounts.void_discount_code(steps.first)

    fenced, live = await codes(service, steps)
    assert (fenced.state, live.state) == ("fenced", "live")
    assert [one["code"] for one in await steps.shop.discounts("live")] == [live.code]
