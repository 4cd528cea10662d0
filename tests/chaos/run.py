"""The run: customers buy from a real stack while all of its parts fail, then everything recovers and is checked."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console
from temporalio.client import Client

from database import Sessions, connect
from db.vault import Vault
from domain.subscriptions import SENT_EVENTS
from local_stack import StackError
from services.import_format import ImportFile
from services.imports import write_import
from settings import Settings, connect_temporal
from tests.chaos.checks import INVARIANTS
from tests.chaos.clients import ApiClients
from tests.chaos.customers import Customers
from tests.chaos.evidence import ChaosEvidence
from tests.chaos.log import RunLog
from tests.chaos.merchant import Merchant
from tests.chaos.operators import ExpirySchedule, Operators
from tests.chaos.processes import ChaosStack, Deaths
from tests.chaos.progress import Progress
from tests.chaos.randomness import Clock
from tests.chaos.recovery import Recovery
from tests.chaos.report import print_violations, summary, trace, write_violations
from tests.chaos.requests import Requests
from tests.chaos.shop import FULL_KEY, ChaosShop
from tests.chaos.subscriber import Subscriber
from tests.chaos.vendors import Vendors
from tests.invariants import violations
from tests.stacks import client_of, settings_of


class FaultKind(StrEnum):
    """Faults that can be left out, to find the cause of a violation."""

    DEATHS = "deaths"
    VENDORS = "vendors"
    OPERATORS = "operators"
    SUBSCRIBER = "subscriber"


class Violated(StackError):
    """An invariant does not hold. The report has been printed."""


@dataclass(frozen=True, kw_only=True)
class Chaos:
    stack: ChaosStack
    settings: Settings
    shop: ChaosShop
    requests: Requests
    store: Sessions
    temporal: Client
    clients: ApiClients
    vendors: Vendors
    subscriber: Subscriber
    operators: Operators
    expiry: ExpirySchedule
    log: RunLog
    seed: int

    @classmethod
    @asynccontextmanager
    async def running(cls, stack: ChaosStack, *, seed: int, seconds: int) -> "AsyncGenerator[Chaos]":
        """Run the stack until the block ends."""
        log = RunLog()
        async with AsyncExitStack() as exits:
            await exits.enter_async_context(stack)
            settings = settings_of(stack)
            engine = connect(settings.database_url)
            exits.push_async_callback(engine.dispose)
            temporal = await connect_temporal(settings)
            http = await exits.enter_async_context(client_of(stack.vendor_url))
            yield cls(
                stack=stack,
                settings=settings,
                shop=ChaosShop(seconds),
                requests=Requests(),
                store=Sessions(engine),
                temporal=temporal,
                clients=ApiClients([await exits.enter_async_context(client) for client in stack.clients()]),
                vendors=Vendors(http, log, seed=seed),
                subscriber=await exits.enter_async_context(Subscriber(log, seed=seed)),
                operators=Operators(temporal, log, seed=seed),
                expiry=ExpirySchedule(temporal, log, seed=seed),
                log=log,
                seed=seed,
            )

    async def run(self, console: Console, *, without: Collection[FaultKind] = ()) -> None:
        """From the first purchase to the report. Raises `Violated`."""
        await self._open_shop()
        with Progress(console, self.shop.seconds) as progress:
            await self._disturb(progress, without)
            recovery = Recovery(
                stack=self.stack,
                vendors=self.vendors,
                subscriber=self.subscriber,
                operators=self.operators,
                expiry=self.expiry,
                store=self.store,
            )
            unfinished = await recovery.run(progress.show_recovery)
            evidence = await self._evidence(unfinished)
            for request in evidence.unanswered:
                request.late_answers.append(await self.clients.send(request))
            evidence = await self._evidence(unfinished)
        await self._report(console, evidence)

    async def _open_shop(self) -> None:
        file = ImportFile.model_validate({"shops": [self.shop.document()]})
        await write_import(self.store, Vault(self.settings.encryption_keys), file)
        await self.vendors.raise_rate_limit()
        subscription = {"url": self.subscriber.url, "events": list(SENT_EVENTS.values())}
        async with client_of(self.stack.api_url) as api:
            headers = {"Authorization": FULL_KEY}
            response = await api.post("/v1/webhook-subscriptions", headers=headers, json=subscription)
        self.subscriber.secret = response.raise_for_status().json()["data"]["attributes"]["secret"]

    async def _disturb(self, progress: Progress, without: Collection[FaultKind]) -> None:
        clock = Clock(self.shop.seconds)
        customers = Customers(self.clients, self.vendors, self.requests, seed=self.seed)
        faults = {
            FaultKind.DEATHS: Deaths(self.stack, self.log, seed=self.seed),
            FaultKind.VENDORS: self.vendors,
            FaultKind.OPERATORS: self.operators,
            FaultKind.SUBSCRIBER: self.subscriber,
        }
        chosen = [one for kind, one in faults.items() if kind not in without]
        merchant = Merchant(self.clients, self.requests, seed=self.seed)
        async with asyncio.TaskGroup() as group:
            for one in (customers, merchant, self.expiry, *chosen):
                group.create_task(one.run(clock))
            group.create_task(progress.show_run(clock, customers, self.requests, self.log))

    async def _evidence(self, unfinished: Mapping[str, int]) -> ChaosEvidence:
        return await ChaosEvidence.of_run(
            self.store,
            self.vendors,
            self.temporal,
            shop=self.shop,
            requests=self.requests,
            webhooks=self.subscriber.webhooks,
            unfinished=unfinished,
        )

    async def _report(self, console: Console, evidence: ChaosEvidence) -> None:
        found = violations(evidence, INVARIANTS)
        console.print(summary(evidence, self.log, await self.vendors.faults_met(), found))
        async with self.store() as session:
            traces = {one.subject: await trace(session, evidence, self.log, one.subject) for one in found}
        print_violations(console, found, traces)
        if found:
            write_violations(self.stack.home / "violations.txt", self.log, found, traces)
            raise Violated(f"{len(found)} violations; traces, logs and data are in {self.stack.home}")
