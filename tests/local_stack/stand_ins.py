"""Small programs in place of the stack's parts, and helpers to watch them."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from local_stack.data_dir import StartedProcesses
from local_stack.supervisor import Part, Supervisor

READY_THEN_WAIT = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY_THEN_WAIT


class Messages:
    """A `Report` that collects its messages."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self._more = asyncio.Event()

    def __call__(self, _part: str, message: str) -> None:
        self.received.append(message)
        self._more.set()

    async def until(self, text: str) -> None:
        """Wait for a message that contains the text."""
        async with asyncio.timeout(20):
            while not any(text in message for message in self.received):
                self._more.clear()
                await self._more.wait()


def supervisor(
    home: Path,
    program: str = READY_THEN_WAIT,
    messages: Messages | None = None,
    *,
    on_restart: Callable[[], None] = lambda: None,
    start_within: float = 10,
    stop_within: float = 10,
) -> Supervisor:
    """Supervisor of a Python program that creates a file when it is ready."""
    ready = home / "ready"
    part = Part(
        name="stand-in",
        command=(sys.executable, "-IS", "-c", program, str(ready)),
        env=dict(os.environ),
        prepare=partial(ready.unlink, missing_ok=True),
        ready=partial(asyncio.to_thread, ready.exists),
        start_within=start_within,
        stop_within=stop_within,
    )
    (home / "logs").mkdir()
    started = StartedProcesses(home / "started.json")
    return Supervisor(part, home=home, started=started, report=messages or Messages(), on_restart=on_restart)


def running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def cli(*arguments: str) -> tuple[int | None, str]:
    """Exit status and output of a `pointsaga` command."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "cli", *arguments, stdout=PIPE, stderr=STDOUT)
    output, _ = await process.communicate()
    return process.returncode, output.decode()
