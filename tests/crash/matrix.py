"""Cases of the crash matrix: one purchase or refund, one death, another worker. Many run at a time, as most wait."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from itertools import count
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowHandle

from activities.attempt import Attempt
from activities.order_webhooks import order_cancelled
from clients.shopify_webhooks import Order
from database import Sessions
from db import shops
from db.audit import Finding, audit
from db.tables import Redemption
from domain.events import EventKind
from domain.ids import reissue_workflow_id
from domain.redemptions import RedemptionStatus
from local_stack.options import vendor_settings
from local_stack.stack import LocalStack
from tests.builders import a_customer, a_lot, a_reward, a_shop, a_variable_reward
from tests.crash.expectations import CHANNELS, COST, KEY, POINTS, problems
from tests.crash.scenarios import Scenario
from tests.crash.worker import WorkerOptions, start_worker
from tests.service import Service, serving
from tests.shop import Shop
from tests.stacks import client_of, settings_of
from tests.steps import Steps, steps_for
from tests.waiting import wait_for_end, wait_until
from workflows.progress import attempt_attributes
from workflows.recovery import recovery_workflow

DEADLINE_SECONDS = 60
"""Leaves time for the retry of an activity whose worker died, which comes after 15 seconds, on a busy machine."""
WORKERS_AT_ONCE = 6
"""Workers that are to die. More of them can slow each other down until activities time out."""
CASE_SECONDS = 240
TURN_SECONDS = 0.5
"""Until the turn of a queued purchase."""
ORDER = "1"
"""Id of the order that is cancelled."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A scenario and the boundary at which its worker dies. None: it does not die, but records its boundaries."""

    scenario: Scenario
    die_at: str | None = None

    def __str__(self) -> str:
        return f"{self.scenario.name} · {self.die_at or 'no death'}"


@dataclass(frozen=True, kw_only=True)
class Result:
    case: Case
    boundaries: list[str]
    """Each once, in the order in which the worker first reached them."""
    problems: list[str]


@dataclass(kw_only=True)
class Matrix:
    """Runs cases, each with its own shop, task queue, API and worker, and with a sandbox that it returns."""

    stack: LocalStack
    engine: AsyncEngine
    temporal: Client
    sandboxes: "asyncio.Queue[str]"
    home: Path
    _workers: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, WORKERS_AT_ONCE))
    _numbers: "count[int]" = field(default_factory=partial(count, 1))

    async def run(self, case: Case) -> Result:
        record = self.home / f"{next(self._numbers)}.boundaries"
        sandbox = await self.sandboxes.get()
        try:
            async with asyncio.timeout(CASE_SECONDS), self._service(sandbox) as service:
                found = await self._run(case, service, record)
        except Exception as error:  # noqa: BLE001 - an error of one case must not hide the others
            found = [f"did not end: {error!r}"]
        finally:
            self.sandboxes.put_nowait(sandbox)
        return Result(case=case, boundaries=_recorded(record), problems=found)

    async def audit(self) -> list[Finding]:
        """Audit the ledger of all cases."""
        async with Sessions(self.engine).snapshot() as session:
            return await audit(session)

    async def _run(self, case: Case, service: Service, record: Path) -> list[str]:
        scenario = case.scenario
        prepare = _prepare_queued if scenario.is_queued else _PREPARE[scenario.event]
        shop, request = await prepare(service)
        for fault in filter(None, (scenario.fault, scenario.rejection)):
            await service.add_fault("shopify", **fault)
        async with self._workers:
            response = asyncio.ensure_future(request)
            run = Run(service=service, shop=shop, response=response, event=scenario.event)
            await _until_death(start_worker(self._worker_options(case, service, record)), run)
        if case.die_at and scenario.rejection:
            await service.add_fault("shopify", **scenario.rejection)
        async with service.worker():
            return await run.problems(case, _recorded(record))

    def _worker_options(self, case: Case, service: Service, record: Path) -> WorkerOptions:
        own = {"TEMPORAL_TASK_QUEUE": service.settings.temporal_task_queue}
        env = {**self.stack.env, **vendor_settings(str(service.vendors.base_url).rstrip("/")), **own}
        return WorkerOptions(env=env, record=record, log=record.with_suffix(".log"), die_at=case.die_at)

    @asynccontextmanager
    async def _service(self, sandbox_url: str) -> AsyncGenerator[Service]:
        settings = settings_of(
            self.stack,
            **{name.lower(): value for name, value in vendor_settings(sandbox_url).items()},
            temporal_task_queue=f"crash-{next(self._numbers)}",
            purchase_deadline_seconds=DEADLINE_SECONDS,
            log_level="ERROR",
        )
        async with AsyncExitStack() as stack:
            sandbox = await stack.enter_async_context(client_of(sandbox_url))
            (await sandbox.delete("/_sandbox")).raise_for_status()
            yield Service(
                settings=settings,
                store=Sessions(self.engine),
                temporal=self.temporal,
                api=await stack.enter_async_context(serving(settings, self.temporal)),
                vendors=sandbox,
                worker_http=await stack.enter_async_context(httpx.AsyncClient(trust_env=False, verify=False)),
            )


@dataclass(frozen=True, kw_only=True)
class Run:
    """A request to the API, and the workflow that it starts."""

    service: Service
    shop: Shop
    response: "asyncio.Future[httpx.Response]"
    event: EventKind

    async def has_ended(self) -> bool:
        if not self.response.done():
            return False
        rows = await self.shop.redemptions()
        return bool(rows) and all([(await self._workflow(row).describe()).close_time is not None for row in rows])

    async def problems(self, case: Case, boundaries: list[str]) -> list[str]:
        """Wait for the end, and check everything."""
        response = await self.response
        [row] = await self.shop.redemptions()
        status = await wait_for_end(self._workflow(row))
        found = await problems(
            self.service, self.shop, response, redemption_id=row.id, workflow=status, event=self.event
        )
        if case.die_at not in {None, *boundaries}:
            found.append(f"the worker did not reach this boundary, only {boundaries}")
        if response.status_code != case.scenario.status:
            found.append(f"answered {response.status_code} instead of {case.scenario.status}: {response.text}")
        return found

    def _workflow(self, row: Redemption) -> "WorkflowHandle[Any, Any]":
        match self.event:
            case EventKind.REWARD_REDEEMED:
                return self.service.purchase_workflow(row.id, row.attempt)
            case EventKind.REWARD_REFUNDED:
                return self.service.refund_workflow(row.id)
            case _:
                return self.service.temporal.get_workflow_handle(reissue_workflow_id(row.id, ORDER))


Prepared = tuple[Shop, Coroutine[Any, Any, httpx.Response]]
"""A shop and the request to be sent."""


async def _prepare_purchase(service: Service) -> Prepared:
    shop = await service.open_shop(a_shop(a_customer(a_lot(POINTS))))
    return shop, shop.purchase(key=KEY)


async def _prepare_queued(service: Service) -> Prepared:
    """Of a reward with everything that a reservation can depend on. The answer is that of a repeated request."""
    reward = a_variable_reward(applies_to={"products": ["8"]}, max_redemptions=1, max_per_customer=1)
    shop = await service.open_shop(a_shop(a_customer(a_lot(POINTS)), rewards=[reward]))
    # A small maximum: metafields, which leave half of it to purchases, wait no longer than usual.
    await shop.wait_at_shopify(TURN_SECONDS, maximum=20)

    async def purchase() -> httpx.Response:
        return await shop.purchase(key=KEY, prefer="respond-async", points_to_spend=COST)

    async def is_decided() -> bool:
        return RedemptionStatus.PENDING not in {row.status for row in await shop.redemptions()}

    async def start() -> httpx.Response:
        queued = await purchase()
        if queued.status_code != HTTPStatus.ACCEPTED:
            return queued
        await wait_until(is_decided, seconds=CASE_SECONDS)
        return await purchase()

    return shop, start()


async def _prepare_refund(service: Service) -> Prepared:
    steps, attempt = await _captured(service)
    return steps.shop, steps.shop.refund(attempt.redemption_id)


async def _prepare_reissue(service: Service) -> Prepared:
    """Of a captured redemption whose order was cancelled."""
    steps, attempt = await _captured(service)
    [code] = await steps.codes()
    now = datetime.now(UTC)
    order = {"id": ORDER, "created_at": now, "cancelled_at": now, "discount_codes": [{"code": code.code}]}
    async with service.store.begin() as session:
        shop = await shops.get_shop(session, attempt.shop_id)
        await order_cancelled(session, shop, Order.model_validate(order))

    async def start() -> httpx.Response:
        request = attempt.model_copy(update={"order_id": ORDER})
        recovery = recovery_workflow(request, EventKind.REWARD_REISSUED)
        await service.temporal.start_workflow(
            recovery.run,
            request,
            id=recovery.id,
            task_queue=service.settings.temporal_task_queue,
            search_attributes=attempt_attributes(request, recovery.stage),
        )
        return httpx.Response(202)

    return steps.shop, start()


async def _captured(service: Service) -> tuple[Steps, Attempt]:
    """A captured redemption whose event has not been delivered."""
    steps = await steps_for(service, a_lot(POINTS), rewards=[a_reward(on_order_cancelled="reissue")])
    attempt = steps.first.model_copy(update={"channels": list(CHANNELS)})
    await steps.points.reserve_points(attempt)
    await steps.discounts.generate_discount_code(attempt)
    return steps, attempt


_PREPARE = {
    EventKind.REWARD_REDEEMED: _prepare_purchase,
    EventKind.REWARD_REFUNDED: _prepare_refund,
    EventKind.REWARD_REISSUED: _prepare_reissue,
}


async def _until_death(worker: ForkServerProcess, run: Run) -> None:
    """Wait until the worker kills itself or has nothing left to do."""

    async def is_dead() -> bool:
        return not worker.is_alive()

    async def is_over() -> bool:
        return not worker.is_alive() or await run.has_ended()

    try:
        await wait_until(is_over, seconds=60)
    finally:
        worker.kill()
        await wait_until(is_dead)
        worker.close()


def _recorded(record: Path) -> list[str]:
    return list(dict.fromkeys(record.read_text().splitlines())) if record.exists() else []
