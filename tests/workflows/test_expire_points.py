"""The hourly round: what has had its time is closed, and the shop's theme hears of it."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

import activities.expiry
from activities.expiry import Expiry
from database import Sessions
from db.tables import Redemption, StaleMetafield
from services.schedules import EXPIRE, RECONCILE, apply_schedules
from settings import Settings
from tests.crash.worker import Orders, start_worker
from tests.service import Service, Shop, a_customer, a_lot, a_shop
from workflows.expire_points import STEPS, ExpirePoints

GONE = -timedelta(hours=1)


@pytest.fixture(autouse=True)
async def _nothing_else_is_due(store: Sessions) -> None:  # pyright: ignore[reportUnusedFunction]
    while await Expiry(store).expire_points(None):
        pass
    async with store.begin() as session:
        await session.execute(delete(StaleMetafield))


async def start(service: Service) -> "WorkflowHandle[ExpirePoints, None]":
    """One round."""
    queue = service.settings.temporal_task_queue
    return await service.temporal.start_workflow(ExpirePoints.run, id=f"expire-{queue}", task_queue=queue)


async def points_at_shopify(shop: Shop) -> list[int]:
    """What the shop's theme says."""
    held = (await shop.service.vendor("shopify"))["metafields"]
    return [json.loads(one["value"])["points_balance"] for one in held if one["shop"] == shop.domain]


@pytest.mark.recorded
async def test_expired_points_and_codes_are_closed_and_the_theme_hears_of_it(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(700), a_lot(90, expires_in=GONE))))
    redemption = (await shop.purchase()).json()["data"]["id"]
    await service.end_of(redemption)
    async with service.store.begin() as session:
        mine = update(Redemption).where(Redemption.id == redemption)
        await session.execute(mine.values(expires_at=func.now() - timedelta(days=1)))

    await (await start(service)).result()

    assert await shop.lots() == [200, 0]
    assert await shop.balance() == 200
    assert (await shop.get(f"/v1/reward-history/{redemption}")).json()["data"]["attributes"]["status"] == "expired"
    assert await points_at_shopify(shop) == [200]
    assert await service.audit() == []


async def test_a_long_sweep_goes_on_in_a_fresh_run(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activities.expiry, "LOTS_AT_A_TIME", 1)
    members = [a_customer(a_lot(10, expires_in=GONE)) for _ in range(STEPS + 5)]
    shop = await service.open_shop(a_shop(*members, vendors=()))

    round_ = await start(service)
    await round_.result()

    first = service.temporal.get_workflow_handle(round_.id, run_id=round_.first_execution_run_id)
    assert (await first.describe()).status is WorkflowExecutionStatus.CONTINUED_AS_NEW
    assert [await shop.lots(customer) for customer in shop.customers] == [[0]] * len(members)


async def test_a_sweep_whose_worker_dies_is_finished_by_another(
    settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with Service.running(settings, engine, temporal.client, working=False) as service:
        shop = await service.open_shop(a_shop(*(a_customer(a_lot(10, expires_in=GONE)) for _ in range(6))))
        doomed = start_worker(_orders(service, tmp_path, deadly="expire_points: before commit 4"))
        round_ = await start(service)
        await asyncio.to_thread(doomed.join)
        assert sorted(await _lots(shop)) == [0, 0, 0, 10, 10, 10]

        await _give_up(service, round_, Expiry.expire_points.__name__)
        async with service.worker():
            await round_.result()

        assert await _lots(shop) == [0] * 6
        assert await points_at_shopify(shop) == [0] * 6
        assert await service.audit() == []


async def _give_up(service: Service, round_: "WorkflowHandle[ExpirePoints, None]", step: str) -> None:
    """As the engine does when it has heard nothing for thirty seconds, but now."""
    step_under_way = service.temporal.get_async_activity_handle(
        workflow_id=round_.id, run_id=round_.first_execution_run_id, activity_id=step
    )
    await step_under_way.fail(ApplicationError("its worker has died"))


async def _lots(shop: Shop) -> list[int]:
    return [left for customer in shop.customers for left in await shop.lots(customer)]


def _orders(service: Service, home: Path, *, deadly: str) -> Orders:
    env = {
        "DATABASE_URL": service.settings.database_url.get_secret_value(),
        "ENCRYPTION_KEYS": ",".join(key.get_secret_value() for key in service.settings.encryption_keys),
        "TEMPORAL_ADDRESS": service.temporal.service_client.config.target_host,
        "TEMPORAL_TASK_QUEUE": service.settings.temporal_task_queue,
    }
    return Orders(env=env, notes=home / "boundaries", output=home / "log", deadly=deadly)


async def test_schedules_are_applied_as_often_as_one_likes(service: Service) -> None:
    queue = service.settings.temporal_task_queue
    try:
        for _ in range(2):
            assert await apply_schedules(service.temporal, task_queue=queue) == [RECONCILE, EXPIRE]

        there = [await service.temporal.get_schedule_handle(name).describe() for name in (RECONCILE, EXPIRE)]
        intervals = [one.schedule.spec.intervals[0].every for one in there]
        assert intervals == [timedelta(minutes=1), timedelta(hours=1)]
    finally:
        for name in (RECONCILE, EXPIRE):
            await service.temporal.get_schedule_handle(name).delete()
