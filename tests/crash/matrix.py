"""One purchase or refund, one death, another worker; and many at a time, as they mostly wait for time-outs."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowHandle

from api.app import create_app
from database import sessions
from db.audit import Finding, audit
from db.tables import Redemption
from local_stack.options import vendor_settings
from local_stack.stack import LocalStack
from settings import Settings
from tests.activities.conftest import steps_for
from tests.crash.stories import Story
from tests.crash.verdict import POINTS, Ended
from tests.crash.worker import Orders, start_worker
from tests.service import Service, Shop, a_customer, a_lot, a_shop, ending, until

DEADLINE_SECONDS = 60
"""A step whose worker died is tried again after 15 seconds: that must leave time for it, however busy the machine."""
WORKERS_AT_ONCE = 6
"""Of those that are to die: when many share a processor, a step may time out that nobody stopped."""
CASE_SECONDS = 240


@dataclass(frozen=True, kw_only=True)
class Case:
    """A story, and where its worker dies; nowhere in the rehearsal."""

    story: Story
    deadly: str | None = None

    def __str__(self) -> str:
        return f"{self.story.name} · {self.deadly or 'nobody dies'}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a case: the boundaries that its worker came to, and what is wrong."""

    case: Case
    boundaries: list[str]
    objections: list[str]


@dataclass(kw_only=True)
class Matrix:
    """Runs cases, each with its own shop, task queue, API and worker, and for the time being with its own vendors."""

    stack: LocalStack
    engine: AsyncEngine
    temporal: Client
    vendors: "asyncio.Queue[str]"
    home: Path
    _workers: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, WORKERS_AT_ONCE))
    _numbers: "count[int]" = field(default_factory=partial(count, 1))

    async def run(self, case: Case) -> Outcome:
        """Play the case to its end."""
        notes = self.home / f"{next(self._numbers)}.boundaries"
        vendors = await self.vendors.get()
        try:
            async with asyncio.timeout(CASE_SECONDS), self._service(vendors) as service:
                objections = await self._play(case, service, notes)
        except Exception as error:  # noqa: BLE001 - one case that goes wrong must not hide the others
            objections = [f"did not come to its end: {error!r}"]
        finally:
            self.vendors.put_nowait(vendors)
        return Outcome(case=case, boundaries=_noted(notes), objections=objections)

    async def findings(self) -> list[Finding]:
        """What breaks an invariant of the ledger, of all that was played."""
        async with sessions(self.engine).begin() as session:
            return await audit(session)

    async def _play(self, case: Case, service: Service, notes: Path) -> list[str]:
        shop, ask = await (_to_refund(service) if case.story.is_refund else _to_purchase(service))
        for fault in filter(None, (case.story.mishap, case.story.refusal)):
            await service.fault("shopify", **fault)
        async with self._workers:
            answer = asyncio.ensure_future(ask)
            asked = Asked(service=service, shop=shop, answer=answer, is_refund=case.story.is_refund)
            await _live(start_worker(self._orders(case, service, notes)), asked)
        if case.deadly and case.story.refusal:
            await service.fault("shopify", **case.story.refusal)
        async with service.worker():
            ended = await asked.end()
        return [*_surprises(case, ended.answer, notes), *await ended.objections()]

    def _orders(self, case: Case, service: Service, notes: Path) -> Orders:
        own = {"TEMPORAL_TASK_QUEUE": service.settings.temporal_task_queue}
        env = {**self.stack.env, **vendor_settings(str(service.vendors.base_url).rstrip("/")), **own}
        return Orders(env=env, notes=notes, output=notes.with_suffix(".log"), deadly=case.deadly)

    @asynccontextmanager
    async def _service(self, vendors: str) -> AsyncGenerator[Service]:
        settings = self._settings(vendors)
        app = create_app(settings, self.temporal)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            sandbox = await stack.enter_async_context(a_client_of_vendors(vendors))
            (await sandbox.delete("/_sandbox")).raise_for_status()
            yield Service(
                settings=settings,
                store=sessions(self.engine),
                temporal=self.temporal,
                api=await stack.enter_async_context(
                    httpx.AsyncClient(transport=transport, base_url="http://test", trust_env=False)
                ),
                vendors=sandbox,
                worker_http=await stack.enter_async_context(httpx.AsyncClient(trust_env=False, verify=False)),
            )

    def _settings(self, vendors: str) -> Settings:
        own = {"temporal_task_queue": f"crash-{next(self._numbers)}", "purchase_deadline_seconds": DEADLINE_SECONDS}
        stack = {name.lower(): value for name, value in {**self.stack.env, **vendor_settings(vendors)}.items()}
        return Settings.model_validate({**stack, **own, "log_level": "ERROR"})


def a_client_of_vendors(url: str) -> httpx.AsyncClient:
    """Without connections kept alive: they break when the vendors tire of them just as they are used again."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, verify=False, limits=limits)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the API was asked for, and who works on it."""

    service: Service
    shop: Shop
    answer: "asyncio.Future[httpx.Response]"
    is_refund: bool

    async def is_over(self) -> bool:
        """Whether the caller has an answer, and nobody works on it any more."""
        if not self.answer.done():
            return False
        rows = await self.shop.redemptions()
        return bool(rows) and all([(await self._run(row).describe()).close_time is not None for row in rows])

    async def end(self) -> Ended:
        """Wait for the end."""
        answer = await self.answer
        [row] = await self.shop.redemptions()
        return Ended(service=self.service, shop=self.shop, answer=answer, workflow=await ending(self._run(row)))

    def _run(self, row: Redemption) -> "WorkflowHandle[Any, Any]":
        return self.service.refund_of(row.id) if self.is_refund else self.service.run_of(row.id, row.attempt)


Ask = tuple[Shop, Coroutine[Any, Any, httpx.Response]]
"""A shop, and what it will ask the API for."""


async def _to_purchase(service: Service) -> Ask:
    shop = await service.open_shop(a_shop(a_customer(a_lot(POINTS))))
    return shop, shop.purchase()


async def _to_refund(service: Service) -> Ask:
    """Of a redemption that was captured, and announced nowhere."""
    steps = await steps_for(service, a_lot(POINTS))
    await steps.points.reserve_points(steps.first)
    await steps.discounts.generate_discount_code(steps.first)
    return steps.shop, steps.shop.refund(steps.first.redemption_id)


async def _live(worker: ForkServerProcess, asked: Asked) -> None:
    """The worker's life: until it kills itself, or has nothing left to do."""
    try:
        await until(partial(_is_over, worker, asked), seconds=60)
    finally:
        worker.kill()
        await until(partial(_is_dead, worker))
        worker.close()


async def _is_over(worker: ForkServerProcess, asked: Asked) -> bool:
    return await _is_dead(worker) or await asked.is_over()


async def _is_dead(worker: ForkServerProcess) -> bool:
    return not worker.is_alive()


def _surprises(case: Case, answer: httpx.Response, notes: Path) -> list[str]:
    """What differs from the story."""
    reached = _noted(notes)
    surprises = [f"the worker never came there; it came to {reached}"] if case.deadly not in {None, *reached} else []
    if answer.status_code != case.story.answer:
        surprises.append(f"answered {answer.status_code} instead of {case.story.answer}: {answer.text}")
    return surprises


def _noted(notes: Path) -> list[str]:
    """Each boundary once, in the order in which they were first reached."""
    return list(dict.fromkeys(notes.read_text().splitlines())) if notes.exists() else []
