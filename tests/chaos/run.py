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
from settings import Settings, connect_temporal
from tests.chaos.cancellations import Cancellations
from tests.chaos.checks import INVARIANTS, QUIET_INVARIANTS
from tests.chaos.clients import ApiClients
from tests.chaos.customers import Customers
from tests.chaos.erasures import Erasures
from tests.chaos.evidence import ChaosEvidence
from tests.chaos.imports import Imports
from tests.chaos.log import RunLog
from tests.chaos.merchant import Merchant
from tests.chaos.merges import Merges
from tests.chaos.operators import ExpirySchedule, Operators
from tests.chaos.processes import ChaosStack, Deaths
from tests.chaos.progress import Progress
from tests.chaos.quiet import QuietCustomers
from tests.chaos.randomness import Clock
from tests.chaos.recovery import Recovery
from tests.chaos.report import print_violations, quiet_summary, summary, trace, write_violations
from tests.chaos.requests import Requests
from tests.chaos.shop import ChaosShop, NoisyShop
from tests.chaos.subscriber import Subscriber
from tests.chaos.vendors import Vendors
from tests.invariants import violations
from tests.stacks import client_of, settings_of


class FaultKind(StrEnum):
    """Faults that can be left out, to find the cause of a violation."""

    DEATHS = "deaths"
    VENDORS = "vendors"
    HANGING = "hanging"
    """Only the vendors that hang and trickle."""
    OPERATORS = "operators"
    SUBSCRIBER = "subscriber"
    ERASURES = "erasures"
    IMPORTS = "imports"
    MERGES = "merges"
    CANCELLATIONS = "cancellations"
    """Cancelled orders, whose codes are reissued."""
    QUEUE = "queue"
    """Queued purchases: all are synchronous then."""


class Violated(StackError):
    """An invariant does not hold. The report has been printed."""


@dataclass(frozen=True, kw_only=True)
class Chaos:
    stack: ChaosStack
    settings: Settings
    shop: NoisyShop
    requests: Requests
    clients: ApiClients
    quiet_shop: ChaosShop
    quiet_requests: Requests
    quiet_clients: ApiClients
    store: Sessions
    vault: Vault
    temporal: Client
    vendors: Vendors
    subscriber: Subscriber
    operators: Operators
    expiry: ExpirySchedule
    imports: Imports
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
            clients = [await exits.enter_async_context(client) for client in stack.clients()]
            shop, quiet_shop = NoisyShop("chaos", seconds), ChaosShop("quiet", seconds)
            store, vault = Sessions(engine), Vault(settings.encryption_keys)
            yield cls(
                stack=stack,
                settings=settings,
                shop=shop,
                requests=Requests(),
                clients=ApiClients(clients, shop),
                quiet_shop=quiet_shop,
                quiet_requests=Requests(),
                quiet_clients=ApiClients(clients, quiet_shop),
                store=store,
                vault=vault,
                temporal=temporal,
                vendors=Vendors(http, shop, log, seed=seed),
                subscriber=await exits.enter_async_context(Subscriber(log, seed=seed)),
                operators=Operators(temporal, shop, log, seed=seed),
                expiry=ExpirySchedule(temporal, log, seed=seed),
                imports=Imports(shop, store, vault, log, seed=seed),
                log=log,
                seed=seed,
            )

    async def run(self, console: Console, *, without: Collection[FaultKind] = ()) -> None:
        """From the first purchase to the report. Raises `Violated`."""
        await self._open_shops()
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
            await self.imports.write(self.shop)
            for shop in (await self._evidence(unfinished), await self._quiet_evidence()):
                for request in shop.unanswered:
                    clients = self.clients if shop.shop is self.shop else self.quiet_clients
                    request.late_answers.append(await clients.send(request))
            noisy, quiet = await self._evidence(unfinished), await self._quiet_evidence()
        await self._report(console, noisy, quiet)

    async def _open_shops(self) -> None:
        await self.imports.write(self.quiet_shop)
        await self.imports.write(self.shop, self.shop.known)
        await self.vendors.raise_rate_limit()
        subscription = {"url": self.subscriber.url, "events": list(SENT_EVENTS.values())}
        async with client_of(self.stack.api_url) as api:
            headers = {"Authorization": self.shop.full_key}
            response = await api.post("/v1/webhook-subscriptions", headers=headers, json=subscription)
        self.subscriber.secret = response.raise_for_status().json()["data"]["attributes"]["secret"]

    async def _disturb(self, progress: Progress, without: Collection[FaultKind]) -> None:
        clock = Clock(self.shop.seconds)
        self.vendors.may_hang = FaultKind.HANGING not in without
        cancellations = Cancellations(self.clients, self.requests, seed=self.seed)
        cancellations.are_on = FaultKind.CANCELLATIONS not in without
        customers = Customers(
            self.shop,
            self.clients,
            self.vendors,
            cancellations,
            self.requests,
            may_queue=FaultKind.QUEUE not in without,
            seed=self.seed,
        )
        quiet = QuietCustomers(self.quiet_clients, self.quiet_requests, seed=self.seed)
        faults = {
            FaultKind.DEATHS: Deaths(self.stack, self.log, seed=self.seed),
            FaultKind.VENDORS: self.vendors,
            FaultKind.OPERATORS: self.operators,
            FaultKind.SUBSCRIBER: self.subscriber,
            FaultKind.ERASURES: Erasures(self.shop, self.clients, self.requests, seed=self.seed),
            FaultKind.IMPORTS: self.imports,
            FaultKind.MERGES: Merges(self.shop, self.clients, self.requests, seed=self.seed),
        }
        chosen = [one for kind, one in faults.items() if kind not in without]
        merchant = Merchant(self.shop, self.clients, self.requests, seed=self.seed)
        async with asyncio.TaskGroup() as group:
            for one in (customers, quiet, merchant, self.expiry, *chosen):
                group.create_task(one.run(clock))
            group.create_task(progress.show_run(clock, customers, self.requests, self.log))

    async def _evidence(self, unfinished: Mapping[str, int]) -> ChaosEvidence:
        return await ChaosEvidence.of_run(
            self.store,
            self.vault,
            self.vendors,
            self.temporal,
            shop=self.shop,
            requests=self.requests,
            webhooks=self.subscriber.webhooks,
            unfinished=unfinished,
            deaths=self.log.deaths,
            failed_imports=self.imports.failures,
        )

    async def _quiet_evidence(self) -> ChaosEvidence:
        return await ChaosEvidence.of_run(
            self.store,
            self.vault,
            self.vendors,
            self.temporal,
            shop=self.quiet_shop,
            requests=self.quiet_requests,
            webhooks=None,
            unfinished={},
            deaths=self.log.deaths,
            failed_imports=(),
        )

    async def _report(self, console: Console, noisy: ChaosEvidence, quiet: ChaosEvidence) -> None:
        by_shop = ((noisy, violations(noisy, INVARIANTS)), (quiet, violations(quiet, QUIET_INVARIANTS)))
        found = [one for _, of_shop in by_shop for one in of_shop]
        console.print(summary(noisy, self.log, await self.vendors.faults_met(), found))
        console.print(quiet_summary(quiet))
        traces: dict[str, list[str]] = {}
        async with self.store() as session:
            for evidence, of_shop in by_shop:
                for one in of_shop:
                    traces.setdefault(one.subject, await trace(session, evidence, self.log, one.subject))
        print_violations(console, found, traces)
        if found:
            write_violations(self.stack.home / "violations.txt", self.log, found, traces)
            raise Violated(f"{len(found)} violations; traces, logs and data are in {self.stack.home}")
