"""The sweep of what has had its time, beside everything else that can happen to the same points."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from activities.expiry import Expiry
from db.customers import lock_customer
from db.tables import ActivityLog, LedgerEntry, PointLot, Redemption
from domain.redemptions import USE_GRACE
from tests.activities.conftest import Steps, steps_for
from tests.activities.test_points import an_hour_after_expiry
from tests.service import Service, Shop, a_lot


@pytest.fixture
def expiry(service: Service) -> Expiry:
    return Expiry(service.store)


async def sweep(expiry: Expiry) -> None:
    """Until nothing is left that can be expired now."""
    while await expiry.expire_points(None):
        pass


async def log_of(shop: Shop) -> list[tuple[str, object]]:
    """What the merchant reads of the shop's customers."""
    query = select(ActivityLog.kind, ActivityLog.facts).where(ActivityLog.customer_id.in_(shop.customers))
    async with shop.service.store() as session:
        return [(kind, facts) for kind, facts in await session.execute(query.order_by(ActivityLog.id))]


async def expired(shop: Shop) -> list[int]:
    """The shop's `expire` entries."""
    mine = LedgerEntry.customer_id.in_(shop.customers) & (LedgerEntry.kind == "expire")
    async with shop.service.store() as session:
        return list(await session.scalars(select(LedgerEntry.points).where(mine).order_by(LedgerEntry.id)))


@asynccontextmanager
async def busy(service: Service, steps: Steps) -> AsyncGenerator[None]:
    """Somebody is in the middle of a transaction about the customer."""
    async with service.store.begin() as session:
        await lock_customer(session, steps.first.shop_id, steps.first.customer_id)
        yield


async def test_expired_points_leave_the_ledger_and_no_balance_moves(service: Service, expiry: Expiry) -> None:
    gone = [a_lot(points, expires_in=-timedelta(hours=1)) for points in (30, 70)]
    steps = await steps_for(service, *gone, a_lot(500, expires_in=timedelta(hours=1)), a_lot(200))
    assert await steps.shop.balance() == 700

    await sweep(expiry)

    assert await steps.shop.balance() == 700
    assert await steps.shop.lots() == [0, 0, 500, 200]
    assert await log_of(steps.shop) == [("points_expired", {"points": 100})]
    assert await service.audit() == []


async def test_two_sweeps_at_once_expire_once(service: Service, expiry: Expiry) -> None:
    steps = await steps_for(service, *(a_lot(10, expires_in=-timedelta(hours=1)) for _ in range(20)))

    await asyncio.gather(*(sweep(expiry) for _ in range(4)))

    assert await expired(steps.shop) == [-10] * 20
    assert await log_of(steps.shop) == [("points_expired", {"points": 200})]


async def test_a_customer_who_is_busy_is_left_to_the_next_round(service: Service, expiry: Expiry) -> None:
    steps = await steps_for(service, a_lot(10, expires_in=-timedelta(hours=1)))

    async with busy(service, steps):
        await sweep(expiry)
    assert await steps.shop.lots() == [10]

    await sweep(expiry)
    assert await steps.shop.lots() == [0]


async def test_a_purchase_at_the_very_moment_draws_the_points_or_they_expire(service: Service, expiry: Expiry) -> None:
    for milliseconds in range(0, 80, 16):
        lasts = timedelta(milliseconds=150)
        steps = await steps_for(service, a_lot(500))
        await _expires_in(steps, lasts)
        await asyncio.sleep((lasts - timedelta(milliseconds=40) + timedelta(milliseconds=milliseconds)).total_seconds())

        refusal, *_ = await asyncio.gather(
            steps.points.reserve_points(steps.first), expiry.expire_points(None), expiry.expire_points(None)
        )
        await asyncio.sleep(0.1)
        await sweep(expiry)

        assert await steps.shop.lots() == [0]
        assert await expired(steps.shop) == ([] if refusal is None else [-500])
        assert len(await steps.shop.redemptions()) == (1 if refusal is None else 0)
    assert await service.audit() == []


async def _expires_in(steps: Steps, lasts: timedelta) -> None:
    mine = PointLot.customer_id == steps.first.customer_id
    async with steps.shop.service.store.begin() as session:
        await session.execute(update(PointLot).where(mine).values(expires_at=func.now() + lasts))


@pytest.mark.parametrize("first", ["the sweep", "the release", "both at once"])
async def test_reserved_points_outlive_a_sweep_and_come_back_with_time_to_spend_them(
    service: Service, expiry: Expiry, first: str
) -> None:
    steps = await steps_for(service, a_lot(800, expires_in=timedelta(days=1)))
    await steps.points.reserve_points(steps.first)
    await an_hour_after_expiry(service, steps)

    match first:
        case "the sweep":
            await sweep(expiry)
            await steps.points.release_points(steps.first)
        case "the release":
            await steps.points.release_points(steps.first)
        case _:
            await asyncio.gather(sweep(expiry), steps.points.release_points(steps.first))
    await sweep(expiry)

    assert await steps.shop.balance() == 500
    assert await expired(steps.shop) == [-300]
    assert await service.audit() == []


async def test_points_that_came_back_expire_in_their_turn(service: Service, expiry: Expiry) -> None:
    steps = await steps_for(service, a_lot(800, expires_in=timedelta(days=1)))
    await steps.points.reserve_points(steps.first)
    await an_hour_after_expiry(service, steps)
    await sweep(expiry)
    await steps.points.release_points(steps.first)
    await an_hour_after_expiry(service, steps)

    await sweep(expiry)

    assert await expired(steps.shop) == [-300, -500]
    assert await steps.shop.lots() == [0]
    assert await service.audit() == []


@pytest.mark.parametrize(
    ("since_the_end", "status"),
    [(timedelta(minutes=-1), "active"), (USE_GRACE / 2, "active"), (USE_GRACE + timedelta(minutes=1), "expired")],
)
async def test_a_redemption_expires_when_no_order_can_bring_its_code_any_more(
    service: Service, steps: Steps, expiry: Expiry, since_the_end: timedelta, status: str
) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.discounts.generate_discount_code(steps.first)
    await _ended(steps, since_the_end)

    await expiry.expire_redemptions(None)

    assert (await steps.row()).status == status
    assert await steps.shop.lots() == [0, 200]
    assert await service.audit() == []


@pytest.mark.parametrize("status", ["pending", "used"])
async def test_only_an_active_redemption_expires(steps: Steps, expiry: Expiry, status: str) -> None:
    await steps.points.reserve_points(steps.first)
    if status == "used":
        await steps.discounts.generate_discount_code(steps.first)
    await _ended(steps, timedelta(days=1), status=status)

    await expiry.expire_redemptions(None)

    assert (await steps.row()).status == status


async def _ended(steps: Steps, ago: timedelta, **values: str) -> None:
    mine = Redemption.id == steps.first.redemption_id
    async with steps.shop.service.store.begin() as session:
        await session.execute(update(Redemption).where(mine).values(expires_at=func.now() - ago, **values))
