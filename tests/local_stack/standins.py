"""Stand-ins for the parts of the stack: small programs that start, linger and die as a test asks."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from local_stack.files import Started
from local_stack.supervisor import Keeper, Part

READY_THEN_WAIT = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY_THEN_WAIT


class News:
    """Collects what a keeper reports, and waits for it."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._more = asyncio.Event()

    def __call__(self, _part: str, news: str) -> None:
        self.heard.append(news)
        self._more.set()

    async def until(self, words: str) -> None:
        """Return once a piece of news contains the words."""
        async with asyncio.timeout(20):
            while not any(words in news for news in self.heard):
                self._more.clear()
                await self._more.wait()


def a_part(home: Path, program: str = READY_THEN_WAIT, *, start_within: float = 10, stop_within: float = 10) -> Part:
    """A Python program that says it is ready by making a file."""
    ready = home / "ready"
    return Part(
        name="stand-in",
        command=(sys.executable, "-IS", "-c", program, str(ready)),
        env=dict(os.environ),
        prepare=partial(ready.unlink, missing_ok=True),
        ready=partial(_exists, ready),
        start_within=start_within,
        stop_within=stop_within,
    )


def a_keeper(home: Path, part: Part, news: News, restarted: Callable[[], None] = lambda: None) -> Keeper:
    """A keeper with a home of its own."""
    (home / "logs").mkdir(exist_ok=True)
    return Keeper(part, home=home, started=Started(home / "started.json"), report=news, restarted=restarted)


def running(pid: int) -> bool:
    """Whether the process exists and is more than an entry that waits for its parent."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def cli(*words: str) -> tuple[int | None, str]:
    """The status of a `pointsaga` command, and what it said."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "cli", *words, stdout=PIPE, stderr=STDOUT)
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def _exists(path: Path) -> bool:
    return await asyncio.to_thread(path.exists)
