"""Reserving and releasing, in every order in which a crash, a reset or a slow worker can make them happen."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from db.tables import PointLot
from domain.errors import EarlierAttemptPending, RedemptionClosed
from tests.activities.conftest import Steps, steps_for
from tests.service import Service, a_lot


async def an_hour_after_expiry(service: Service, steps: Steps) -> None:
    """The customer's lots have run out."""
    mine = PointLot.customer_id == steps.first.customer_id
    async with service.store.begin() as session:
        await session.execute(update(PointLot).where(mine).values(expires_at=func.now() - timedelta(hours=1)))


async def test_reserving_twice_takes_the_points_once(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.points.reserve_points(steps.first)

    assert await steps.shop.lots() == [0, 200]


async def test_two_tries_of_one_attempt_at_the_same_instant_take_the_points_once(steps: Steps) -> None:
    await asyncio.gather(*(steps.points.reserve_points(steps.first) for _ in range(5)))

    assert await steps.shop.lots() == [0, 200]


async def test_a_release_gives_each_lot_its_own_and_a_second_one_nothing(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)

    assert await steps.points.release_points(steps.first)
    assert await steps.points.release_points(steps.first)

    assert await steps.shop.lots() == [300, 400]
    assert (await steps.row()).status == "failed"


async def test_a_release_leaves_alone_what_another_purchase_took_from_the_same_lot(service: Service) -> None:
    steps = await steps_for(service, a_lot(1200))
    assert (await steps.shop.purchase()).status_code == 201
    await steps.points.reserve_points(steps.first)

    await steps.points.release_points(steps.first)

    assert await steps.shop.lots() == [700]
    assert await service.audit() == []


async def test_a_reserve_that_comes_after_its_release_is_refused(steps: Steps) -> None:
    assert await steps.points.release_points(steps.first)

    with pytest.raises(RedemptionClosed):
        await steps.points.reserve_points(steps.first)

    assert await steps.shop.lots() == [300, 400]


async def test_reserve_and_release_of_one_attempt_at_once_leave_nothing_taken(steps: Steps) -> None:
    for number in range(1, 6):
        attempt = steps.first.model_copy(update={"number": number})

        await asyncio.gather(
            steps.points.reserve_points(attempt), steps.points.release_points(attempt), return_exceptions=True
        )

        assert await steps.shop.lots() == [300, 400]
        assert (await steps.row()).status == "failed"


async def test_a_new_attempt_waits_while_the_earlier_one_holds_points(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)

    with pytest.raises(EarlierAttemptPending):
        await steps.points.reserve_points(steps.second)

    await steps.points.release_points(steps.first)
    assert await steps.points.reserve_points(steps.second) is None
    assert (await steps.row()).attempt == 2
    assert await steps.shop.lots() == [0, 200]


async def test_the_release_of_an_attempt_never_touches_the_next_ones_points(steps: Steps) -> None:
    await steps.points.release_points(steps.first)
    await steps.points.reserve_points(steps.second)

    assert await steps.points.release_points(steps.first)

    assert (await steps.row()).status == "pending"
    assert await steps.shop.lots() == [0, 200]


async def test_an_earlier_attempt_that_comes_late_takes_nothing(steps: Steps) -> None:
    await steps.points.reserve_points(steps.second)

    with pytest.raises(RedemptionClosed):
        await steps.points.reserve_points(steps.first)

    assert await steps.shop.lots() == [0, 200]


async def test_after_the_deadline_nothing_is_reserved(steps: Steps) -> None:
    late = steps.first.model_copy(update={"deadline": steps.first.deadline - timedelta(hours=1)})

    with pytest.raises(RedemptionClosed):
        await steps.points.reserve_points(late)

    assert await steps.shop.lots() == [300, 400]


async def test_a_lot_that_expired_meanwhile_gets_its_points_back_with_a_week_to_spend_them(service: Service) -> None:
    steps = await steps_for(service, a_lot(500, expires_in=timedelta(days=1)))
    await steps.points.reserve_points(steps.first)
    await an_hour_after_expiry(service, steps)

    await steps.points.release_points(steps.first)

    assert await steps.shop.balance() == 500
    mine = PointLot.customer_id == steps.first.customer_id
    async with service.store() as session:
        left = (await session.execute(select(PointLot.expires_at - func.now()).where(mine))).scalar_one()
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)


async def test_points_that_had_expired_beside_the_drawn_ones_stay_expired(service: Service) -> None:
    steps = await steps_for(service, a_lot(10_000, expires_in=timedelta(days=1)))
    await steps.points.reserve_points(steps.first)
    await an_hour_after_expiry(service, steps)

    await steps.points.release_points(steps.first)

    assert await steps.shop.balance() == 500
    assert await service.audit() == []
