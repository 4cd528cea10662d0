"""The hourly sweep expires points and codes, and updates metafields."""

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.exceptions import ApplicationError

from activities.expiry import Expiry
from services.schedules import EXPIRE, RECONCILE, apply_schedules
from tests.builders import a_customer, a_lot, a_shop
from tests.crash.worker import WorkerOptions, start_worker
from tests.service import Service
from tests.shop import Shop
from workflows.expire_points import ACTIVITIES_PER_RUN, ExpirePoints

HOUR_AGO = timedelta(hours=-1)
Sweep = WorkflowHandle[ExpirePoints, None]


async def start_sweep(service: Service) -> Sweep:
    queue = service.settings.temporal_task_queue
    return await service.temporal.start_workflow(ExpirePoints.run, id=f"expire-{queue}", task_queue=queue)


async def metafield_points(service: Service) -> list[int]:
    metafields = (await service.vendor("shopify"))["metafields"]
    return [json.loads(one["value"])["points_balance"] for one in metafields]


@pytest.mark.recorded
async def test_points_and_codes_expire(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(700), a_lot(90, expires_in=HOUR_AGO))))
    redemption = await shop.buy()
    await service.let_time_pass(timedelta(days=31))

    await (await start_sweep(service)).result()

    assert await shop.lots() == [200, 0]
    assert await shop.balance() == 200
    assert (await shop.get(f"/v1/reward-history/{redemption}")).json()["data"]["attributes"]["status"] == "expired"
    assert await metafield_points(service) == [200]
    assert await service.audit() == []


async def test_a_long_sweep_continues_as_new(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.expiry.LOTS_PER_BATCH", 1)
    customers = [a_customer(a_lot(10, expires_in=HOUR_AGO)) for _ in range(ACTIVITIES_PER_RUN + 5)]
    shop = await service.open_shop(a_shop(*customers, vendors=()))

    sweep = await start_sweep(service)
    await sweep.result()

    first = service.temporal.get_workflow_handle(sweep.id, run_id=sweep.first_execution_run_id)
    assert (await first.describe()).status is WorkflowExecutionStatus.CONTINUED_AS_NEW
    assert await lots(shop) == [0] * len(customers)


async def test_another_worker_finishes_the_sweep(idle: Service, tmp_path: Path) -> None:
    shop = await idle.open_shop(a_shop(*(a_customer(a_lot(10, expires_in=HOUR_AGO)) for _ in range(6))))
    files = {"record": tmp_path / "boundaries", "log": tmp_path / "log"}
    worker = start_worker(WorkerOptions(env=idle.env, **files, die_at="expire_points: before commit 4"))
    sweep = await start_sweep(idle)
    await asyncio.to_thread(worker.join)
    assert sorted(await lots(shop)) == [0, 0, 0, 10, 10, 10]

    # Instead of waiting for the time-out of the activity.
    ids = {"workflow_id": sweep.id, "run_id": sweep.first_execution_run_id}
    activity = idle.temporal.get_async_activity_handle(**ids, activity_id=Expiry.expire_points.__name__)
    await activity.fail(ApplicationError("its worker has died"))
    async with idle.worker():
        await sweep.result()

    assert await lots(shop) == [0] * 6
    assert await metafield_points(idle) == [0] * 6
    assert await idle.audit() == []


async def lots(shop: Shop) -> list[int]:
    return [left for customer in shop.customers for left in await shop.lots(customer)]


@pytest.fixture
async def scheduled(service: Service) -> AsyncGenerator[list[str]]:
    queue = service.settings.temporal_task_queue
    ids = await apply_schedules(service.temporal, task_queue=queue)
    assert await apply_schedules(service.temporal, task_queue=queue) == ids
    yield ids
    for one in ids:
        await service.temporal.get_schedule_handle(one).delete()


async def test_schedules_can_be_applied_twice(service: Service, scheduled: list[str]) -> None:
    descriptions = [await service.temporal.get_schedule_handle(one).describe() for one in scheduled]

    intervals = [one.schedule.spec.intervals[0].every for one in descriptions]
    assert dict(zip(scheduled, intervals, strict=True)) == {
        RECONCILE: timedelta(minutes=1),
        EXPIRE: timedelta(hours=1),
    }
