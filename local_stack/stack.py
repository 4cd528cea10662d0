"""The local stack: starts its parts in order, restarts them when they exit, and stops them in reverse order."""

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

from local_stack import PartFailed, parts, ports
from local_stack.data_dir import StartedProcesses, encryption_key, locked, sealing_settings, write_private
from local_stack.options import (
    APPLICATION,
    INFRASTRUCTURE,
    StackOptions,
    process_environment,
    stack_settings,
    vendor_settings,
)
from local_stack.ports import LOOPBACK
from local_stack.postgres import INITIALISE_ENV, database_url, initialise_command, postgres, socket_dir
from local_stack.supervisor import Part, Report, Supervisor

DEMO_SHOP = Path(__file__).parents[1] / "sandbox" / "demo_shop.json"


def silent(_part: str, _message: str) -> None:
    """Report nothing."""


class LocalStack:
    """Context manager: the parts are ready when the block begins and have ended when it is left."""

    def __init__(self, options: StackOptions, report: Report = silent) -> None:
        self.options = options
        self.home = options.data_dir.absolute()
        self.api_url = f"http://{LOOPBACK}:{options.api_port}"
        self.temporal_address = f"{LOOPBACK}:{options.temporal_port}"
        self.temporal_ui_url = f"http://{LOOPBACK}:{options.ui_port}"
        self.vendor_url = f"http://{LOOPBACK}:{options.vendor_port}"
        self.metrics = dict(zip(APPLICATION, options.metrics_ports or (), strict=False))
        """Ports of the metrics, by part. Empty: there are none."""
        self.codec_url = f"http://{LOOPBACK}:{options.codec_port}"
        self.database_url = ""
        self.env: dict[str, str] = {}
        """Settings for further workers, APIs and commands on this stack."""
        self._report = report
        self._sealing: dict[str, str] = {}
        self._started = StartedProcesses(self.home / "started.json")
        self._record = self.home / "stack.json"
        self._supervisors: list[Supervisor] = []
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
        """Pids of the running processes, by part."""
        return {one.part.name: one.pid for one in self._supervisors if one.pid}

    def log(self, name: str) -> Path:
        """Log file of a part or of a program that was run."""
        return self.home / "logs" / f"{name}.log"

    def kill(self) -> None:
        """Kill all processes, so that leaving the block does not wait for them."""
        for supervisor in self._supervisors:
            supervisor.kill()

    @property
    def is_sealed(self) -> bool:
        """Whether workflow data is sealed. Known once the stack starts."""
        return bool(self._sealing)

    async def run(self, name: str, *command: str, env: Mapping[str, str] | None = None) -> None:
        """Run a program with this stack's settings until it exits. Raises `PartFailed` on a status other than 0."""
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
            raise PartFailed(name, f"exited with status {status}", self.log(name))

    async def _start(self, undo: AsyncExitStack) -> None:
        await self._claim(undo)
        sockets = undo.enter_context(socket_dir(self.home))
        self.database_url = database_url(sockets)
        self.env = self._settings()
        chosen = self._parts(sockets)

        if "postgres" in chosen:
            await self.run("initdb", *initialise_command(self.home), env=INITIALISE_ENV)
        await self._keep(undo, *(chosen[name]() for name in INFRASTRUCTURE if name in chosen))
        if any(name in chosen for name in APPLICATION):
            await self._prepare_data()
        await self._keep(undo, *(chosen[name]() for name in APPLICATION if name in chosen))

        undo.callback(self._record.unlink, missing_ok=True)
        self._ready = True
        self._write_record()

    async def _claim(self, undo: AsyncExitStack) -> None:
        """Claim data directory and ports. Raises `Misuse` before anything is started."""
        (self.home / "logs").mkdir(parents=True, exist_ok=True)
        undo.enter_context(locked(self.home))
        self._record.unlink(missing_ok=True)
        await asyncio.to_thread(self._started.end_leftovers)
        self._sealing = sealing_settings(self.home, sealed=self.options.sealed)
        ports.check(self.options.claims(self._part_names))
        undo.callback(self._started.clear)

    def _settings(self) -> dict[str, str]:
        settings = stack_settings(
            database_url=self.database_url,
            temporal_address=self.temporal_address,
            temporal_ui_url=self.temporal_ui_url,
            encryption_key=encryption_key(self.home),
            sealing={**self._sealing, "CODEC_ORIGINS": self.temporal_ui_url} if self._sealing else {},
        )
        vendors = vendor_settings(self.vendor_url) if "sandbox" in self.options.parts else {}
        return {**settings, **vendors, **self.options.env}

    def _parts(self, sockets: Path) -> dict[str, Callable[[], Part]]:
        env, options = process_environment(self.env), self.options
        factories: dict[str, Callable[[], Part]] = {
            "postgres": lambda: postgres(self.home, sockets, env),
            "temporal": lambda: parts.temporal(
                self.home, options.temporal_port, options.ui_port, env, codec=self._codec_endpoint
            ),
            "codec": lambda: parts.codec(options.codec_port, env),
            "sandbox": lambda: parts.sandbox(self.home, options.vendor_port, env),
            "worker": lambda: parts.worker(self.home, {**env, **self._metrics_settings("worker")}),
            "api": lambda: parts.api(options.api_port, {**env, **self._metrics_settings("api")}),
        }
        return {name: factories[name] for name in self._part_names}

    @property
    def _part_names(self) -> list[str]:
        return [*self.options.parts, *(["codec"] if self._sealing else [])]

    @property
    def _codec_endpoint(self) -> str | None:
        # With its key, as this UI sends no credentials. Only who can open the UI gets it.
        return f"{self.codec_url}/key/{self._sealing['CODEC_KEYS']}" if self._sealing else None

    def metrics_url(self, part: str) -> str | None:
        """Where the part serves its metrics. None: it does not."""
        return f"http://{LOOPBACK}:{self.metrics[part]}/metrics" if part in self.metrics else None

    def _metrics_settings(self, part: str) -> dict[str, str]:
        return {"METRICS_ADDRESS": f"{LOOPBACK}:{self.metrics[part]}"} if part in self.metrics else {}

    async def _keep(self, undo: AsyncExitStack, *chosen: Part) -> None:
        for part in chosen:
            supervisor = Supervisor(
                part, home=self.home, started=self._started, report=self._report, on_restart=self._write_record
            )
            self._supervisors.append(supervisor)
            undo.push_async_callback(supervisor.stop)
            await supervisor.start()

    async def _prepare_data(self) -> None:
        self._report("database", "migrating, then applying the schedules of Temporal")
        await self.run("prepare", sys.executable, "-m", "local_stack.prepare")
        if self.options.demo_data:
            self._report("database", f"importing {DEMO_SHOP.name}")
            await self.run("import", sys.executable, "-m", "cli", "import", str(DEMO_SHOP))

    def _write_record(self) -> None:
        """Write `stack.json`, for other programs: once all parts are ready, and after each restart."""
        if not self._ready:
            return
        record = {
            "api_url": self.api_url,
            "temporal_address": self.temporal_address,
            "temporal_ui_url": self.temporal_ui_url,
            "database_url": self.database_url,
            "vendor_url": self.vendor_url,
            "metrics_urls": {part: self.metrics_url(part) for part in self.metrics},
            "pids": self.pids,
            "env": self.env,
        }
        write_private(self._record, json.dumps(record, indent=2))
