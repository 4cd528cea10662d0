"""The local stack: starts its parts in order, keeps them alive, says where they are, and stops them in reverse."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from local_stack import parts, ports
from local_stack.environment import process_environment, stack_settings, vendor_settings
from local_stack.errors import PartFailed
from local_stack.files import Started, encryption_key, exclusive, write_private
from local_stack.options import APPLICATION, ENGINE, StackOptions
from local_stack.ports import LOOPBACK
from local_stack.postgres import INITIALISE_ENV, database_url, initialise_command, postgres, socket_dir
from local_stack.supervisor import Keeper, Part, Report

DEMO_SHOP = Path(__file__).parents[1] / "demo_shop.json"


def silent(_part: str, _news: str) -> None:
    """Report nothing."""


class LocalStack:
    """`async with LocalStack(options) as stack:` has all of it running inside, and nothing left of it outside."""

    def __init__(self, options: StackOptions, report: Report = silent) -> None:
        self.options = options
        self.home = options.data_dir.absolute()
        self.api_url = f"http://{LOOPBACK}:{options.api_port}"
        self.temporal_address = f"{LOOPBACK}:{options.temporal_port}"
        self.temporal_ui_url = f"http://{LOOPBACK}:{options.ui_port}"
        self.vendor_url = f"http://{LOOPBACK}:{options.vendor_port}"
        self.database_url = ""
        self.env: dict[str, str] = {}
        """The settings with which another worker, API or command joins this stack."""
        self._report = report
        self._started = Started(self.home / "started.json")
        self._record = self.home / "stack.json"
        self._keepers: list[Keeper] = []
        self._ready = False
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as undo:
            await self._start(undo)
            self._exit = undo.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    @property
    def pids(self) -> dict[str, int]:
        """The processes that run now, by part."""
        return {keeper.part.name: keeper.pid for keeper in self._keepers if keeper.pid}

    def log(self, name: str) -> Path:
        """Where a part or a program that was run wrote what it had to say."""
        return self.home / "logs" / f"{name}.log"

    def kill(self) -> None:
        """End every process now; the way out then finds nothing left to stop."""
        for keeper in self._keepers:
            keeper.kill()

    async def run(self, name: str, *command: str, env: Mapping[str, str] | None = None) -> None:
        """Run a program against this stack to its end, logging as `name`."""
        with self.log(name).open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                cwd=self.home,
                env={**process_environment(self.env), **(env or {})},
                start_new_session=True,
            )
        try:
            status = await process.wait()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
        if status != 0:
            raise PartFailed(name, f"ended with status {status}", self.log(name))

    async def _start(self, undo: AsyncExitStack) -> None:
        await self._take_possession(undo)
        sockets = undo.enter_context(socket_dir(self.home))
        self.database_url = database_url(sockets)
        self.env = self._settings()
        chosen = self._parts(sockets)

        if "postgres" in chosen:
            await self.run("initdb", *initialise_command(self.home), env=INITIALISE_ENV)
        await self._keep(undo, *(chosen[name]() for name in ENGINE if name in chosen))
        if any(name in chosen for name in APPLICATION):
            await self._prepare_data()
        await self._keep(undo, *(chosen[name]() for name in APPLICATION if name in chosen))

        undo.callback(self._record.unlink, missing_ok=True)
        self._ready = True
        self._write_record()

    async def _take_possession(self, undo: AsyncExitStack) -> None:
        """Nothing has been started yet when this refuses."""
        (self.home / "logs").mkdir(parents=True, exist_ok=True)
        undo.enter_context(exclusive(self.home))
        self._record.unlink(missing_ok=True)
        await asyncio.to_thread(self._started.end_leftovers)
        ports.check(self.options.claims())
        undo.callback(self._started.forget)

    def _settings(self) -> dict[str, str]:
        settings = stack_settings(
            database_url=self.database_url,
            temporal_address=self.temporal_address,
            temporal_ui_url=self.temporal_ui_url,
            encryption_key=encryption_key(self.home),
        )
        vendors = vendor_settings(self.vendor_url) if "sandbox" in self.options.parts else {}
        return {**settings, **vendors, **self.options.env}

    def _parts(self, sockets: Path) -> dict[str, Callable[[], Part]]:
        env, options = process_environment(self.env), self.options
        every: dict[str, Callable[[], Part]] = {
            "postgres": lambda: postgres(self.home, sockets, env),
            "temporal": lambda: parts.temporal(self.home, options.temporal_port, options.ui_port, env),
            "sandbox": lambda: parts.sandbox(options.vendor_port, env),
            "worker": lambda: parts.worker(self.home, env),
            "api": lambda: parts.api(options.api_port, env),
        }
        return {name: every[name] for name in options.parts}

    async def _keep(self, undo: AsyncExitStack, *some: Part) -> None:
        for part in some:
            keeper = Keeper(
                part, home=self.home, started=self._started, report=self._report, restarted=self._write_record
            )
            self._keepers.append(keeper)
            undo.push_async_callback(keeper.stop)
            await keeper.start()

    async def _prepare_data(self) -> None:
        cli = (sys.executable, "-m", "cli")
        self._report("database", "migrating")
        await self.run("migrate", *cli, "migrate")
        self._report("temporal", "applying schedules")
        await self.run("schedules", *cli, "schedules", "apply")
        if self.options.demo_data:
            self._report("database", f"importing {DEMO_SHOP.name}")
            await self.run("import", *cli, "import", str(DEMO_SHOP))

    def _write_record(self) -> None:
        """For other programs: where everything is, and that all of it is ready."""
        if not self._ready:
            return
        record = {
            "api_url": self.api_url,
            "temporal_address": self.temporal_address,
            "temporal_ui_url": self.temporal_ui_url,
            "database_url": self.database_url,
            "vendor_url": self.vendor_url,
            "pids": self.pids,
            "env": self.env,
        }
        write_private(self._record, json.dumps(record, indent=2))
