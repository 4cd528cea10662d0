"""Pointsaga as it is deployed: every part a process of its own, with real ports between them."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import httpx
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.service import RPCError

from database import Sessions, connect
from domain.channels import Channel
from local_stack import ports, tail
from local_stack.options import StackOptions, process_environment
from local_stack.parts import api, worker
from local_stack.stack import LocalStack
from local_stack.supervisor import Part
from services.workers import Dispatch, queue_state
from settings import connect_temporal
from tests.builders import ALL_VENDORS, Json
from tests.evidence import Evidence, Purchase
from tests.faults import CREATE_CODE, kill
from tests.invariants import CATALOGUE, violations
from tests.service import Service
from tests.shop import Shop
from tests.stacks import client_of, settings_of
from tests.waiting import wait_until
from workflows.saga import background_queue

COST = 500
CHANNELS = (Channel.KLAVIYO, Channel.OMNISEND, Channel.POSTSCRIPT, Channel.METAFIELDS)

_STOPS_WITHIN_SECONDS = 3

_numbers = count(1)


class Program:
    """One process without a supervisor: the test decides when it ends."""

    def __init__(self, part: Part, process: Process, log: Path) -> None:
        self._part = part
        self._process = process
        self._log = log

    @classmethod
    @asynccontextmanager
    async def running(cls, part: Part, home: Path) -> AsyncGenerator["Program"]:
        """Start it and wait until it is ready. It is stopped at the end of the block."""
        log = home / f"{part.name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *part.launch_command,
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                cwd=home,
                env=part.env,
                start_new_session=True,
            )
        program = cls(part, process, log)
        try:
            await wait_until(program._is_ready)
            yield program
        finally:
            if process.returncode is None:
                await program._stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything that it has logged."""
        return self._log.read_text()

    def send(self, signal_: signal.Signals) -> None:
        """Send a signal that does not end the process."""
        self._process.send_signal(signal_)

    async def end(self, how: signal.Signals) -> int:
        """Send the signal, and wait for the exit status."""
        self._process.send_signal(how)
        async with asyncio.timeout(self._part.stop_within):
            return await self._process.wait()

    async def _stop(self) -> None:
        """A worker that is killed when it is young seems to answer for another minute: ask it to stop first."""
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOPS_WITHIN_SECONDS):
                await self._process.wait()
        except TimeoutError:
            await self.end(signal.SIGKILL)

    async def _is_ready(self) -> bool:
        assert self._process.returncode is None, f"{self._part.name} has ended:\n{tail(self._log)}"
        return await self._part.ready()


@dataclass(kw_only=True)
class Deployment(Service):
    """The service of `tests.service` in several processes. Tests start workers and further APIs."""

    stack: LocalStack
    other_api: httpx.AsyncClient
    programs: AsyncExitStack

    @property
    def apis(self) -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
        """Two API processes, either of which serves every shop."""
        return self.api, self.other_api

    async def start_worker(self, settings: Mapping[str, str] | None = None, *, code: str = "") -> Program:
        """Start a worker and wait until it polls. `code`: directory of packages that replace the project's."""
        home = _new_home(self.stack)
        env = process_environment({**self.stack.env, **(settings or {})})
        # Besides the path of a changed copy of the project, in which `make mutants` runs.
        path = os.pathsep.join(filter(None, (code, env.get("PYTHONPATH"))))
        part = worker(home, {**env, "PYTHONPATH": path})
        return await self.programs.enter_async_context(Program.running(part, home))

    async def start_api(self, *, deadline_seconds: float) -> tuple[Program, httpx.AsyncClient]:
        """Start an API with this purchase deadline."""
        settings = {"PURCHASE_DEADLINE_SECONDS": str(deadline_seconds)}
        return await self.programs.enter_async_context(api_process(self.stack, settings))

    async def workers_are_gone(self) -> None:
        """Wait until no worker of an earlier test counts.

        A dead one does until it has missed three heartbeats (docs/status.md), and they come late on a busy machine.
        """

        async def none_answers() -> bool:
            queue = self.settings.temporal_task_queue
            states = (
                await queue_state(self.temporal, queue, workflows=True),
                await queue_state(self.temporal, background_queue(queue), workflows=False),
            )
            return all(one.dispatch is Dispatch.NO_WORKER for one in states)

        await wait_until(none_answers, seconds=90)

    def kill(self, part: str) -> None:
        """Kill a part of the stack. Its supervisor restarts it with its data."""
        kill(self.stack.pids[part])

    def signal(self, part: str, number: signal.Signals) -> None:
        """Send a signal to a part of the stack."""
        os.kill(self.stack.pids[part], number)

    async def keep_temporal_down(self, until_then: "asyncio.Future[httpx.Response]") -> None:
        """Kill Temporal, and again as often as it is restarted, until the future is done."""
        while not until_then.done():
            if "temporal" in self.stack.pids:
                self.kill("temporal")
            await asyncio.sleep(0.05)

    async def heal_all(self) -> None:
        for vendor in ALL_VENDORS:
            await self.clear_faults(vendor)

    async def open_large_shop(self, shop: Json) -> Shop:
        """Import a shop with ten times the standard rate limit at Shopify."""
        opened = await self.open_shop(shop)
        plan = await self.vendors.put(f"/_sandbox/shopify/shops/{opened.domain}", json={"restore_rate": 1000})
        plan.raise_for_status()
        return opened

    async def code_is_requested(self) -> None:
        """Wait until the fault for the next creation of a code has met its request, which may still be in progress."""

        async def is_consumed() -> bool:
            # Other operations do not count: the reconciler compares codes at the same Shopify.
            return CREATE_CODE not in [fault["operation"] for fault in (await self.vendor("shopify"))["faults"]]

        await wait_until(is_consumed)

    async def code_requests(self, shop: Shop) -> list[Json]:
        """Requests to create a code of this shop that Shopify has finished."""
        calls = (await self.vendor("shopify"))["calls"]
        return [call for call in calls if call["operation"] == CREATE_CODE and call["shop"] == shop.domain]

    async def waits_for_retry(self, redemption_id: str) -> bool:
        """Whether a failed activity of the purchase waits in Temporal, not in a worker, for its next attempt."""
        pending = (await self.purchase_workflow(redemption_id).describe()).raw_description.pending_activities
        scheduled = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
        return any(one.attempt > 1 and one.state == scheduled for one in pending)

    async def temporal_is_back(self) -> None:
        """Wait until Temporal responds again."""

        async def responds() -> bool:
            try:
                return await self.temporal.service_client.check_health()
            except RPCError:
                return False

        await wait_until(responds)

    async def audit_ledger(self) -> None:
        """Run `pointsaga audit --ledger-only`. Fails on a finding, as the exit status is 1 then."""
        await self.stack.run("audit", sys.executable, "-m", "cli", "audit", "--ledger-only")

    async def ended(self, shop: Shop, *, purchases: int = 1) -> None:
        """Wait until this number of redemptions has ended, compensations and deliveries included."""

        async def all_exist() -> bool:
            return len(await shop.redemptions()) >= purchases

        await wait_until(all_exist)
        rows = await shop.redemptions()
        ends = await asyncio.gather(*(self.wait_for_purchase(row.id, row.attempt) for row in rows))
        assert set(ends) <= {"COMPLETED", "FAILED"}

    async def check(self, shop: Shop, *, award: int, purchases: Sequence[Purchase] = ()) -> Evidence:
        """Check every invariant of the shop, whose customers all started with the same award."""
        evidence = await Evidence.gather(
            self.store,
            self.vendors,
            shop.domain,
            costs={"reward_abc": COST},
            awards=dict.fromkeys(shop.customers, award),
            purchases=purchases,
            channels=CHANNELS,
        )
        found = violations(evidence, CATALOGUE)
        assert not found, "\n".join(map(str, found))
        return evidence


@asynccontextmanager
async def empty_deployment(deployment: Deployment, home: Path, env: Mapping[str, str]) -> AsyncGenerator[Deployment]:
    """One with an empty PostgreSQL and an empty Temporal, without worker and API, with the same vendors."""
    options = StackOptions.on_free_ports(home, parts=("postgres", "temporal"), demo_data=False, env=env)
    async with LocalStack(options) as stack, AsyncExitStack() as programs:
        settings = settings_of(stack)
        engine = connect(settings.database_url)
        programs.push_async_callback(engine.dispose)
        client = await connect_temporal(settings)
        yield replace(
            deployment, stack=stack, settings=settings, store=Sessions(engine), temporal=client, programs=programs
        )


@asynccontextmanager
async def api_process(
    stack: LocalStack, settings: Mapping[str, str] | None = None
) -> AsyncGenerator[tuple[Program, httpx.AsyncClient]]:
    """One more API process, and a client of it."""
    [port] = ports.free(1)
    part = api(port, process_environment({**stack.env, **(settings or {})}))
    async with Program.running(part, _new_home(stack)) as program, client_of(part.address) as http:
        yield program, http


def _new_home(stack: LocalStack) -> Path:
    """A directory for a process: its log, and the file that a worker creates when it polls."""
    home = stack.home / "programs" / str(next(_numbers))
    home.mkdir(parents=True)
    return home
