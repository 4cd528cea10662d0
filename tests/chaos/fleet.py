"""The local stack with two of each process that there can be several of; all of them are kept alive."""

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import httpx

from local_stack import ports
from local_stack.options import StackOptions, process_environment
from local_stack.parts import api, worker
from local_stack.ports import LOOPBACK
from local_stack.stack import LocalStack, silent
from local_stack.supervisor import Report
from settings import Settings
from tests.chaos.world import SHOPIFY_SIGNS_WITH

MORTAL = ("worker", "worker-2", "api", "api-2", "temporal", "postgres")
"""All but the vendors, whose memory is what the run is judged by."""


class Fleet(LocalStack):
    """Database, engine, vendors, two workers and two APIs."""

    def __init__(self, home: Path, *, deadline_seconds: float, report: Report = silent) -> None:
        env = {
            "PURCHASE_DEADLINE_SECONDS": f"{deadline_seconds:g}",
            "SHOPIFY_WEBHOOK_SECRETS": SHOPIFY_SIGNS_WITH,
            "WEBHOOK_ALLOW_PRIVATE_TARGETS": "true",
        }
        super().__init__(StackOptions.on_free_ports(home, demo_data=False, env=env), report)
        [self._other_port] = ports.free(1)

    @property
    def settings(self) -> Settings:
        """The settings that every process of it has."""
        return Settings.model_validate({name.lower(): value for name, value in self.env.items()})

    def clients(self) -> list[httpx.AsyncClient]:
        """A client of each API, with more patience than any purchase takes."""
        both = (self.options.api_port, self._other_port)
        return [httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{port}", timeout=60, trust_env=False) for port in both]

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
