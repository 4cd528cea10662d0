"""Keeps one process alive: starts it, waits until it is ready, starts it again when it dies, stops it."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from local_stack.errors import PartFailed
from local_stack.files import Started

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
STEADY = 30.0
"""A part that ran for so long is trusted again: the next pause is the first one."""
POLL = 0.05
TETHER = Path(__file__).with_name("tether.py")

Report = Callable[[str, str], None]
"""Told the part and the news about it."""


def nothing_to_prepare() -> None:
    """For parts that can start as they are."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """How one part of the stack starts, how one sees that it is ready, and how it stops."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    ready: Callable[[], Awaitable[bool]]
    prepare: Callable[[], object] = nothing_to_prepare
    """Done before every start, the first and each later one."""
    address: str = ""
    user: str = ""
    """The account to run as, when not our own."""
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    """What it gets when the stack itself was killed."""
    start_within: float = 30.0
    stop_within: float = 10.0


class Keeper:
    """One part's process, from start to stop."""

    def __init__(
        self, part: Part, *, home: Path, started: Started, report: Report, restarted: Callable[[], None]
    ) -> None:
        self.part = part
        self.log = home / "logs" / f"{part.name}.log"
        self._home = home
        self._started = started
        self._report = report
        self._restarted = restarted
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process that runs now, if one does."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Return once the part is ready, and watch it from then on."""
        self._report(self.part.name, "starting")
        self.log.write_text("")
        began = _now()
        await self._launch()
        self._report(self.part.name, f"ready after {_now() - began:.1f} s  {self.part.address}".rstrip())
        self._watch = asyncio.create_task(self._keep_alive(), name=f"keep {self.part.name} alive")

    async def stop(self) -> None:
        """Ask it to end, insist after a while, return when it has ended."""
        if self._watch:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._report(self.part.name, "stopping")
        process.send_signal(self.part.stop_signal)
        try:
            async with asyncio.timeout(self.part.stop_within):
                await process.wait()
        except TimeoutError:
            self._report(self.part.name, f"did not stop within {self.part.stop_within:.0f} s, killed")
        finally:
            self.kill()
        await process.wait()

    def kill(self) -> None:
        """End it now, whatever it is doing."""
        if self._watch:
            self._watch.cancel()
        if self._process:
            _kill(self._process)

    async def _launch(self) -> None:
        self.part.prepare()
        with self.log.open("ab") as log:
            self._process = process = await asyncio.create_subprocess_exec(
                *self._tethered(),
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                cwd=self._home,
                env=self.part.env,
                start_new_session=True,  # Ctrl-C in the terminal is for the stack, which stops its parts in order
            )
        self._started.note(self.part.name, process.pid, self.part.death_signal)
        await self._until_ready(process)

    def _tethered(self) -> list[str]:
        tether = [sys.executable, "-IS", str(TETHER), str(int(self.part.death_signal)), str(os.getpid())]
        return [*tether, self.part.user, *self.part.command]

    async def _until_ready(self, process: Process) -> None:
        try:
            async with asyncio.timeout(self.part.start_within):
                while process.returncode is None:
                    if await self.part.ready():
                        return
                    await asyncio.sleep(POLL)
        except TimeoutError:
            _kill(process)
            await process.wait()
            raise self._failed(f"was not ready within {self.part.start_within:.0f} s") from None
        raise self._failed(f"{_ending(process.returncode)} while it was starting")

    async def _keep_alive(self) -> None:
        pause = FIRST_PAUSE
        while True:
            began = _now()
            failure = await self._end()
            if _now() - began > STEADY:
                pause = FIRST_PAUSE
            while failure:
                self._report(self.part.name, f"{failure.news}\nstarting it again in {pause:g} s")
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                failure = await self._try_again()

    async def _end(self) -> PartFailed:
        assert self._process
        return self._failed(_ending(await self._process.wait()))

    async def _try_again(self) -> PartFailed | None:
        try:
            await self._launch()
        except PartFailed as failure:
            return failure
        self._report(self.part.name, "is back")
        self._restarted()
        return None

    def _failed(self, what: str) -> PartFailed:
        return PartFailed(self.part.name, what, self.log)


def _kill(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _ending(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _now() -> float:
    return asyncio.get_running_loop().time()
