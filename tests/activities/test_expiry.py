"""The sweep, beside everything else that can happen to the same points."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from activities.expiry import Expiry
from db.customers import lock_customer
from db.tables import LedgerEntry
from domain.redemptions import USE_GRACE
from tests.builders import a_lot
from tests.service import Service
from tests.shop import Shop
from tests.steps import Steps, steps_for

HOUR_AGO = timedelta(hours=-1)


@pytest.fixture
def expiry(service: Service) -> Expiry:
    return Expiry(service.store)


async def sweep(expiry: Expiry) -> None:
    while await expiry.expire_points(None):
        pass


async def logged(shop: Shop) -> list[tuple[str, object]]:
    return [(entry.kind, entry.facts) for entry in await shop.activity_log()]


async def expired(shop: Shop) -> list[int]:
    """Points of the shop's `expire` entries."""
    mine = LedgerEntry.customer_id.in_(shop.customers) & (LedgerEntry.kind == "expire")
    async with shop.service.store() as session:
        return list(await session.scalars(select(LedgerEntry.points).where(mine).order_by(LedgerEntry.id)))


async def test_a_sweep_changes_no_balance(service: Service, expiry: Expiry) -> None:
    gone = [a_lot(points, expires_in=HOUR_AGO) for points in (30, 70)]
    steps = await steps_for(service, *gone, a_lot(500, expires_in=timedelta(hours=1)), a_lot(200))
    assert await steps.shop.balance() == 700

    await sweep(expiry)

    assert await steps.shop.balance() == 700
    assert await steps.shop.lots() == [0, 0, 500, 200]
    assert await logged(steps.shop) == [("points_expired", {"points": 100})]
    assert await service.audit() == []


async def test_parallel_sweeps_expire_once(service: Service, expiry: Expiry) -> None:
    steps = await steps_for(service, *(a_lot(10, expires_in=HOUR_AGO) for _ in range(20)))

    await asyncio.gather(*(sweep(expiry) for _ in range(4)))

    assert await expired(steps.shop) == [-10] * 20
    assert await logged(steps.shop) == [("points_expired", {"points": 200})]


async def test_a_locked_customer_is_left_to_the_next_sweep(service: Service, expiry: Expiry) -> None:
    steps = await steps_for(service, a_lot(10, expires_in=HOUR_AGO))

    async with service.store.begin() as session:
        await lock_customer(session, steps.first.shop_id, steps.first.customer_id)
        await sweep(expiry)
    assert await steps.shop.lots() == [10]

    await sweep(expiry)
    assert await steps.shop.lots() == [0]


async def test_expiring_points_are_either_drawn_or_expired(service: Service, expiry: Expiry) -> None:
    for milliseconds in range(110, 190, 16):
        steps = await steps_for(service, a_lot(500))
        await steps.expire_lots(timedelta(milliseconds=150))
        await asyncio.sleep(milliseconds / 1000)

        refusal, *_ = await asyncio.gather(
            steps.points.reserve_points(steps.first), expiry.expire_points(None), expiry.expire_points(None)
        )
        await asyncio.sleep(0.1)
        await sweep(expiry)

        assert await steps.shop.lots() == [0]
        assert await expired(steps.shop) == ([] if refusal is None else [-500])
        assert len(await steps.shop.redemptions()) == (1 if refusal is None else 0)
    assert await service.audit() == []


@pytest.mark.parametrize("first", ["sweep", "release", "both"])
async def test_reserved_points_survive_a_sweep(service: Service, expiry: Expiry, first: str) -> None:
    steps = await steps_for(service, a_lot(800, expires_in=timedelta(days=1)))
    await steps.points.reserve_points(steps.first)
    await steps.expire_lots()

    match first:
        case "sweep":
            await sweep(expiry)
            await steps.points.release_points(steps.first)
        case "release":
            await steps.points.release_points(steps.first)
        case _:
            await asyncio.gather(sweep(expiry), steps.points.release_points(steps.first))
    await sweep(expiry)

    assert await steps.shop.balance() == 500
    assert await expired(steps.shop) == [-300]
    assert await service.audit() == []


async def test_returned_points_expire_later(service: Service, expiry: Expiry) -> None:
    steps = await steps_for(service, a_lot(800, expires_in=timedelta(days=1)))
    await steps.points.reserve_points(steps.first)
    await steps.expire_lots()
    await sweep(expiry)
    await steps.points.release_points(steps.first)
    await steps.expire_lots()

    await sweep(expiry)

    assert await expired(steps.shop) == [-300, -500]
    assert await steps.shop.lots() == [0]
    assert await service.audit() == []


@pytest.mark.parametrize(
    ("since_the_end", "status"),
    [(timedelta(minutes=-1), "active"), (USE_GRACE / 2, "active"), (USE_GRACE + timedelta(minutes=1), "expired")],
)
async def test_a_redemption_expires_after_a_grace_period(
    steps: Steps, expiry: Expiry, since_the_end: timedelta, status: str
) -> None:
    await steps.capture()
    await steps.change_row(expires_at=func.now() - since_the_end)

    await expiry.expire_redemptions(None)

    assert (await steps.row()).status == status
    assert await steps.shop.lots() == [0, 200]
    assert await steps.service.audit() == []


@pytest.mark.parametrize("status", ["pending", "used"])
async def test_only_active_redemptions_expire(steps: Steps, expiry: Expiry, status: str) -> None:
    await steps.capture()
    await steps.change_row(expires_at=func.now() - timedelta(days=1), status=status)

    await expiry.expire_redemptions(None)

    assert (await steps.row()).status == status
