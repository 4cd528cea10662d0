"""Pointsaga as it is deployed: every part a process of its own, with real ports between them."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import httpx
from sqlalchemy import select
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.service import RPCError

from db.tables import Delivery
from domain.redemptions import CAPTURED
from local_stack import ports, tail
from local_stack.options import process_environment
from local_stack.parts import api, worker
from local_stack.stack import LocalStack
from local_stack.supervisor import Part
from tests.service import ALL_VENDORS, Json, Service, Shop, until

CREATE = "discountCodeBasicCreate"

_numbers = count(1)


class Program:
    """One process, which nobody starts again: it lives and dies as the test says."""

    def __init__(self, part: Part, process: Process, log: Path) -> None:
        self._part = part
        self._process = process
        self._log = log

    @classmethod
    @asynccontextmanager
    async def running(cls, part: Part, home: Path) -> AsyncGenerator["Program"]:
        """The program, once it is ready; killed at the end of the block if it still runs."""
        log = home / f"{part.name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *part.launch_command,  # ends with the test process, even when that is killed
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                cwd=home,
                env=part.env,
                start_new_session=True,
            )
        program = cls(part, process, log)
        try:
            await until(program._is_ready)
            yield program
        finally:
            if process.returncode is None:
                await program.end(signal.SIGKILL)

    async def end(self, how: signal.Signals) -> int:
        """Send the signal, and wait for the exit status."""
        self._process.send_signal(how)
        async with asyncio.timeout(self._part.stop_within):
            return await self._process.wait()

    async def _is_ready(self) -> bool:
        assert self._process.returncode is None, f"{self._part.name} has ended:\n{tail(self._log)}"
        return await self._part.ready()


@dataclass(kw_only=True)
class Deployment(Service):
    """The service of `tests.service`, spread over processes. Workers and further APIs are started by the test."""

    stack: LocalStack
    other_api: httpx.AsyncClient
    programs: AsyncExitStack

    @property
    def apis(self) -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
        """Two API processes, either of which serves every shop."""
        return self.api, self.other_api

    async def start_worker(self, settings: dict[str, str] | None = None, *, code: str = "") -> Program:
        """One more worker, which polls already. `code` is a directory whose packages are used instead of ours."""
        home = a_home(self.stack)
        env = process_environment({**self.stack.env, **(settings or {})})
        part = worker(home, {**env, "PYTHONPATH": code} if code else env)
        return await self.programs.enter_async_context(Program.running(part, home))

    async def start_api(self, *, deadline_seconds: float) -> tuple[Program, httpx.AsyncClient]:
        """One more API, which gives each purchase this long, and a client of it."""
        patience = {"PURCHASE_DEADLINE_SECONDS": str(deadline_seconds)}
        return await self.programs.enter_async_context(an_api(self.stack, patience))

    def kill(self, part: str) -> None:
        """A part of the stack dies; its supervisor soon starts it again, with its data."""
        os.kill(self.stack.pids[part], signal.SIGKILL)

    async def keep_temporal_away(self, until_then: "asyncio.Future[httpx.Response]") -> None:
        """The engine dies, and again as often as it is started, until somebody has an answer."""
        while not until_then.done():
            if "temporal" in self.stack.pids:
                with suppress(ProcessLookupError):  # it is dead, and its supervisor has not seen it yet
                    self.kill("temporal")
            await asyncio.sleep(0.05)

    async def storm(self, vendor: str, faults: Iterable[Json], *, chance: float, seed: int) -> None:
        """Let each of these faults strike each request with this chance, until the vendor is healed."""
        for number, fault in enumerate(faults):
            await self.fault(vendor, **fault, probability=chance, seed=seed + number, times=None)

    async def heal_all(self) -> None:
        """Every vendor is well again."""
        for vendor in ALL_VENDORS:
            await self.heal(vendor)

    async def open_large_shop(self, shop: Json) -> Shop:
        """Import a shop whose plan lets it ask Shopify ten times as much."""
        opened = await self.open_shop(shop)
        plan = await self.vendors.put(f"/_sandbox/shopify/shops/{opened.domain}", json={"restore_rate": 1000})
        plan.raise_for_status()
        return opened

    async def shopify_is_asked(self) -> None:
        """Wait until the fault in store for the next code has met its request, which may still be sitting there."""
        await until(self._fault_has_struck)

    async def asked_for_codes(self, shop: Shop) -> list[Json]:
        """The requests for a new code of this shop which Shopify is done with."""
        calls = (await self.vendor("shopify"))["calls"]
        return [call for call in calls if call["operation"] == CREATE and call["shop"] == shop.domain]

    async def waits_for_another_try(self, redemption_id: str) -> bool:
        """Whether a step of the run has failed, and waits in the engine, not in a worker, for its next try."""
        steps = (await self.run_of(redemption_id).describe()).raw_description.pending_activities
        scheduled = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
        return any(step.attempt > 1 and step.state == scheduled for step in steps)

    async def engine_is_back(self) -> None:
        """Wait until Temporal answers again."""
        await until(self._engine_answers)

    async def books_are_right(self) -> None:
        """`pointsaga audit --ledger-only` finds nothing; it ends with status 1, and this fails, when it does."""
        await self.stack.run("audit", sys.executable, "-m", "cli", "audit", "--ledger-only")

    async def settled(self, shop: Shop, *, purchases: int = 1) -> None:
        """Wait until as many redemptions have come to their end, with all that they had to undo or to tell."""
        await until(lambda: self._has_redemptions(shop, purchases))
        rows = await shop.redemptions()
        ends = await asyncio.gather(*(self.end_of(row.id, row.attempt) for row in rows))
        assert set(ends) <= {"COMPLETED", "FAILED"}

    async def deliveries_of(self, shop: Shop) -> list[Delivery]:
        """What was to be told of the shop's captured redemptions."""
        captured = [row.id for row in await shop.redemptions() if row.status in CAPTURED]
        async with self.store() as session:
            return list(await session.scalars(select(Delivery).where(Delivery.redemption_id.in_(captured))))

    async def _fault_has_struck(self) -> bool:
        # Not just any request: the reconciler looks for drift at the same Shopify.
        return CREATE not in [fault["operation"] for fault in (await self.vendor("shopify"))["faults"]]

    async def _has_redemptions(self, shop: Shop, number: int) -> bool:
        return len(await shop.redemptions()) >= number

    async def _engine_answers(self) -> bool:
        try:
            return await self.temporal.service_client.check_health()
        except RPCError:
            return False


@asynccontextmanager
async def an_api(
    stack: LocalStack, settings: dict[str, str] | None = None
) -> AsyncGenerator[tuple[Program, httpx.AsyncClient]]:
    """One more API process of the stack's, and a client of it."""
    [port] = ports.free(1)
    part = api(port, process_environment({**stack.env, **(settings or {})}))
    async with Program.running(part, a_home(stack)) as program, a_client(part.address) as http:
        yield program, http


def a_client(url: str) -> httpx.AsyncClient:
    """A client with more patience than any purchase takes."""
    return httpx.AsyncClient(base_url=url, timeout=60, trust_env=False)


def a_home(stack: LocalStack) -> Path:
    """A directory for one process: its log, and the file by which a worker says that it polls."""
    home = stack.home / "programs" / str(next(_numbers))
    home.mkdir(parents=True)
    return home
