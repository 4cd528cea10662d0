"""The run itself: a fleet, a load, faults of everything at once, then quiet, and the reckoning."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

import httpx
from rich.console import Console
from temporalio.client import Client

from database import Sessions, connect, sessions
from db.vault import Vault
from domain.subscriptions import EVENTS
from local_stack import StackError
from services.import_format import ImportFile
from services.imports import write_import
from settings import connect_temporal
from tests.chaos.adjustments import Adjustments
from tests.chaos.apis import Apis
from tests.chaos.checks import Violation, violations
from tests.chaos.deaths import Deaths
from tests.chaos.dice import Clock
from tests.chaos.evidence import Evidence, gather
from tests.chaos.expiry import Expiry
from tests.chaos.fleet import Fleet
from tests.chaos.load import Load
from tests.chaos.operators import Operators
from tests.chaos.progress import Progress
from tests.chaos.records import Tally
from tests.chaos.recovery import Recovery
from tests.chaos.report import keep, summary, tell
from tests.chaos.sequels import Sequels
from tests.chaos.subscriber import Subscriber
from tests.chaos.vendors import Vendors
from tests.chaos.wishes import Wishes
from tests.chaos.world import FULL_KEY, World


class Trouble(StrEnum):
    """What can be left out, to narrow a violation down."""

    DEATHS = "deaths"
    VENDORS = "vendors"
    OPERATORS = "operators"
    SUBSCRIBER = "subscriber"


class Violated(StackError):
    """Something was not as it must be; it has been told."""


@dataclass(frozen=True, kw_only=True)
class Chaos:
    """One run, and all who take part in it."""

    fleet: Fleet
    world: World
    wishes: Wishes
    store: Sessions
    temporal: Client
    apis: Apis
    vendors: Vendors
    subscriber: Subscriber
    load: Load
    adjustments: Adjustments
    expiry: Expiry
    operators: Operators
    deaths: Deaths
    tally: Tally
    progress: Progress

    @classmethod
    @asynccontextmanager
    async def running(cls, fleet: Fleet, *, seed: int, seconds: int, console: Console) -> "AsyncGenerator[Chaos]":
        """All of it, until the block ends."""
        tally, wishes = Tally(), Wishes()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(fleet)
            database = connect(fleet.settings.database_url)
            stack.push_async_callback(database.dispose)
            apis = Apis([await stack.enter_async_context(client) for client in fleet.clients()])
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=fleet.vendor_url, trust_env=False))
            temporal, vendors = await connect_temporal(fleet.settings), Vendors(http, tally, seed=seed)
            yield cls(
                fleet=fleet,
                world=World(seconds),
                wishes=wishes,
                store=sessions(database),
                temporal=temporal,
                apis=apis,
                vendors=vendors,
                subscriber=await stack.enter_async_context(Subscriber(tally, seed=seed)),
                load=Load(apis, Sequels(apis, vendors, wishes, seed=seed), wishes, seed=seed),
                adjustments=Adjustments(apis, wishes, seed=seed),
                expiry=Expiry(temporal, tally, seed=seed),
                operators=Operators(temporal, tally, seed=seed),
                deaths=Deaths(fleet, tally, seed=seed),
                tally=tally,
                progress=Progress(console, seconds),
            )

    async def play(self, console: Console, *, without: Collection[Trouble] = ()) -> None:
        """From the first purchase to the last word.

        Raises:
            Violated: something is not as it must be.
        """
        await self._open_shop()
        with self.progress:
            await self._storm(Clock(self.world.seconds), without)
            still_open = await self._recovery().run(self.progress.recovering)
            evidence = await self._reckon(still_open)
        self._conclude(console, evidence, violations(evidence), struck=await self.vendors.struck())

    async def _open_shop(self) -> None:
        file = ImportFile.model_validate({"shops": [self.world.shop()]})
        await write_import(self.store, Vault(self.fleet.settings.encryption_keys), file)
        await self.vendors.give_plan()
        await self._subscribe()

    async def _subscribe(self) -> None:
        asked = {"url": self.subscriber.url, "events": list(EVENTS.values())}
        async with httpx.AsyncClient(base_url=self.fleet.api_url, trust_env=False) as api:
            said = await api.post("/v1/webhook-subscriptions", headers={"Authorization": FULL_KEY}, json=asked)
        self.subscriber.secret = said.raise_for_status().json()["data"]["attributes"]["secret"]

    async def _storm(self, clock: Clock, without: Collection[Trouble]) -> None:
        troubles = {
            Trouble.DEATHS: self.deaths,
            Trouble.VENDORS: self.vendors,
            Trouble.OPERATORS: self.operators,
            Trouble.SUBSCRIBER: self.subscriber,
        }
        chosen = [one for trouble, one in troubles.items() if trouble not in without]
        async with asyncio.TaskGroup() as all_at_once:
            for one in (self.load, self.adjustments, self.expiry, *chosen):
                all_at_once.create_task(one.run(clock))
            all_at_once.create_task(self.progress.watch(clock, self.load, self.wishes, self.tally))

    def _recovery(self) -> Recovery:
        return Recovery(
            fleet=self.fleet,
            vendors=self.vendors,
            subscriber=self.subscriber,
            operators=self.operators,
            expiry=self.expiry,
            store=self.store,
        )

    async def _reckon(self, still_open: dict[str, int]) -> Evidence:
        """All that is known, once those have asked again who do not know what became of their wishes."""
        before = await self._gather(still_open)
        for wish in before.unheard:
            wish.afterwards.append(await self.apis.ask(wish))
        return await self._gather(still_open)

    async def _gather(self, still_open: dict[str, int]) -> Evidence:
        return await gather(
            self.store,
            self.vendors,
            self.temporal,
            world=self.world,
            wishes=self.wishes,
            heard=self.subscriber.heard,
            open_=still_open,
        )

    def _conclude(self, console: Console, evidence: Evidence, found: list[Violation], *, struck: Counter[str]) -> None:
        console.print(summary(evidence, self.tally, struck, found))
        tell(console, evidence, self.tally, found)
        if found:
            keep(self.fleet.home / "violations.txt", evidence, self.tally, found)
            raise Violated(f"{len(found)} violations; traces, logs and data are kept in {self.fleet.home}")
