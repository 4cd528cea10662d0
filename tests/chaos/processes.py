"""The processes of the run: a local stack with two workers and two APIs, which are killed at random."""

from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx

from local_stack import ports
from local_stack.options import StackOptions, process_environment
from local_stack.parts import api, worker
from local_stack.ports import LOOPBACK
from local_stack.stack import LocalStack, silent
from local_stack.supervisor import Report
from tests.chaos.log import RunLog
from tests.chaos.randomness import Clock, random_stream
from tests.chaos.shop import WEBHOOK_SECRET
from tests.faults import kill
from tests.stacks import client_of

KILLED = ("worker", "worker-2", "api", "api-2", "temporal", "postgres")
"""All parts but the vendor sandbox, whose memory is evidence."""
EVERY_SECONDS = 7.0
CALM_SECONDS = (30.0, 45.0)
CALM_CHANCE = 0.3
"""Of a longer pause, in which everything runs again: the time in which the quiet shop must notice nothing."""


class ChaosStack(LocalStack):
    def __init__(self, home: Path, *, deadline_seconds: float, report: Report = silent) -> None:
        env = {
            "PURCHASE_DEADLINE_SECONDS": f"{deadline_seconds:g}",
            "ASYNC_PURCHASE_DEADLINE_SECONDS": f"{2 * deadline_seconds:g}",
            "SHOPIFY_WEBHOOK_SECRETS": WEBHOOK_SECRET,
            "WEBHOOK_ALLOW_PRIVATE_TARGETS": "true",
        }
        super().__init__(StackOptions.on_free_ports(home, demo_data=False, env=env), report)
        [self._other_port] = ports.free(1)

    def clients(self) -> list[httpx.AsyncClient]:
        """A client of each API."""
        return [client_of(f"http://{LOOPBACK}:{port}") for port in (self.options.api_port, self._other_port)]

    async def _start(self, undo: AsyncExitStack) -> None:
        await super()._start(undo)
        env = process_environment(self.env)
        second = self.home / "second"
        second.mkdir(exist_ok=True)
        await self._keep(
            undo,
            replace(worker(second, env), name="worker-2"),
            replace(api(self._other_port, env), name="api-2"),
        )


class Deaths:
    """Kills processes. Their supervisors restart them."""

    def __init__(self, stack: ChaosStack, log: RunLog, *, seed: int) -> None:
        self._stack = stack
        self._log = log
        self._random = random_stream(seed, "deaths")

    async def run(self, clock: Clock) -> None:
        pause = self._random.uniform(0.5, 3)  # a short run has deaths, too
        while await clock.sleep(pause):
            pause = self._random.expovariate(1 / EVERY_SECONDS)
            if self._random.random() < CALM_CHANCE:
                pause += self._random.uniform(*CALM_SECONDS)
            for part in self._random.sample(KILLED, self._random.choices((1, 2), (85, 15))[0]):
                pid = self._stack.pids.get(part)
                if pid is None or not kill(pid):
                    self._log.add(f"{part} not killed, it is not running")
                else:
                    self._log.kills[part] += 1
                    self._log.deaths.append(datetime.now(UTC))
                    self._log.add(f"{part} killed")
