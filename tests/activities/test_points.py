"""Reserving and releasing, in every order that a crash, a reset or a slow worker can cause."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from db.customers import lock_customer
from db.tables import PointLot, Reward
from domain.eligibility import Refusal, RefusalCode
from domain.errors import EarlierAttemptPending, RedemptionClosed
from domain.ids import new_redemption_id
from tests.builders import a_lot
from tests.service import Service
from tests.steps import Steps, steps_for
from tests.waiting import locks_waited_for, wait_until


async def test_reserving_in_parallel_draws_once(steps: Steps) -> None:
    await asyncio.gather(*(steps.points.reserve_points(steps.first) for _ in range(5)))
    await steps.points.reserve_points(steps.first)

    assert await steps.shop.lots() == [0, 200]


async def test_a_reservation_waits_for_changes_of_the_customer(steps: Steps) -> None:
    async with steps.service.store.begin() as session:
        customer = await lock_customer(session, steps.first.shop_id, steps.first.customer_id)
        assert customer is not None
        customer.excluded = True
        reservation = asyncio.ensure_future(steps.points.reserve_points(steps.first))
        await wait_until(lambda: locks_waited_for(steps.service.store))

    assert await reservation == Refusal(code=RefusalCode.CUSTOMER_EXCLUDED)


async def test_a_reservation_waits_for_changes_of_a_capped_reward(steps: Steps) -> None:
    ids = (steps.first.shop_id, steps.first.reward_id)
    async with steps.service.store.begin() as session:
        (await session.get_one(Reward, ids)).max_redemptions = 1
    async with steps.service.store.begin() as session:
        (await session.get_one(Reward, ids)).is_active = False
        await session.flush()
        reservation = asyncio.ensure_future(steps.points.reserve_points(steps.first))
        await wait_until(lambda: locks_waited_for(steps.service.store))

    assert await reservation == Refusal(code=RefusalCode.REWARD_NOT_FOUND)


async def test_releasing_twice_returns_the_points_once(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)

    assert await steps.points.release_points(steps.first)
    assert await steps.points.release_points(steps.first)

    assert await steps.shop.lots() == [300, 400]
    assert (await steps.row()).status == "failed"


async def test_a_release_returns_only_its_own_points(service: Service) -> None:
    steps = await steps_for(service, a_lot(1200))
    await steps.capture(steps.first.model_copy(update={"redemption_id": new_redemption_id()}))
    await steps.points.reserve_points(steps.first)

    await steps.points.release_points(steps.first)

    assert await steps.shop.lots() == [700]
    assert await service.audit() == []


async def test_a_released_attempt_cannot_reserve(steps: Steps) -> None:
    assert await steps.points.release_points(steps.first)

    with pytest.raises(RedemptionClosed):
        await steps.points.reserve_points(steps.first)

    assert await steps.shop.lots() == [300, 400]


async def test_a_parallel_release_leaves_no_points_reserved(steps: Steps) -> None:
    for number in range(1, 6):
        attempt = steps.first.model_copy(update={"number": number})

        await asyncio.gather(
            steps.points.reserve_points(attempt), steps.points.release_points(attempt), return_exceptions=True
        )

        assert await steps.shop.lots() == [300, 400]
        assert (await steps.row()).status == "failed"


async def test_a_new_attempt_waits_for_the_earlier_one(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)

    with pytest.raises(EarlierAttemptPending):
        await steps.points.reserve_points(steps.second)

    await steps.points.release_points(steps.first)
    assert await steps.points.reserve_points(steps.second) is None
    assert (await steps.row()).attempt == 2
    assert await steps.shop.lots() == [0, 200]


async def test_a_release_does_not_affect_the_next_attempt(steps: Steps) -> None:
    await steps.points.release_points(steps.first)
    await steps.points.reserve_points(steps.second)

    assert await steps.points.release_points(steps.first)

    assert (await steps.row()).status == "pending"
    assert await steps.shop.lots() == [0, 200]


async def test_a_superseded_attempt_cannot_reserve(steps: Steps) -> None:
    await steps.points.reserve_points(steps.second)

    with pytest.raises(RedemptionClosed):
        await steps.points.reserve_points(steps.first)

    assert await steps.shop.lots() == [0, 200]


async def test_nothing_is_reserved_after_the_deadline(steps: Steps) -> None:
    late = steps.first.model_copy(update={"deadline": steps.first.deadline - timedelta(hours=1)})

    with pytest.raises(RedemptionClosed):
        await steps.points.reserve_points(late)

    assert await steps.shop.lots() == [300, 400]


async def test_a_queued_purchase_reserves_only_while_its_client_waits(steps: Steps) -> None:
    late = {"is_queued": True, "reserve_by": steps.first.deadline - timedelta(hours=1)}

    with pytest.raises(RedemptionClosed):
        await steps.points.reserve_points(steps.first.model_copy(update=late))

    assert await steps.shop.lots() == [300, 400]


@pytest.mark.parametrize("points", [500, 10_000])
async def test_points_released_to_an_expired_lot_last_a_week(service: Service, points: int) -> None:
    steps = await steps_for(service, a_lot(points, expires_in=timedelta(days=1)))
    await steps.points.reserve_points(steps.first)
    await steps.expire_lots()

    await steps.points.release_points(steps.first)

    # The points that were not drawn stay expired.
    assert await steps.shop.balance() == 500
    query = select(PointLot.expires_at - func.now()).order_by(PointLot.id.desc()).limit(1)
    async with service.store() as session:
        left = (await session.execute(query)).scalar_one()
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    assert await service.audit() == []
