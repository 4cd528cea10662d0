"""Supervision of one part: start its process, wait until it is ready, restart it when it exits, stop it."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from local_stack import PartFailed
from local_stack.data_dir import StartedProcesses

# Seconds.
FIRST_PAUSE = 0.5
MAX_PAUSE = 10.0
STABLE_AFTER = 30.0
"""After this uptime the pause before a restart is `FIRST_PAUSE` again."""
POLL_INTERVAL = 0.05

# Runs before each part, in the part's process; then executes the part's command. Standard library only: about 10 ms.
# The user is switched first, because the kernel clears the parent-death signal when credentials change.
LAUNCHER = """
import ctypes, os, pwd, sys
death_signal, parent, user, *command = sys.argv[1:]
if user:
    account = pwd.getpwnam(user)
    os.initgroups(user, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal))
if os.getppid() != int(parent):
    sys.exit("the local stack ended before this part started")
os.execvp(command[0], command)
"""

Report = Callable[[str, str], None]
"""Receives the name of a part and a message about it."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """How to start, check and stop one part of the stack."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    ready: Callable[[], Awaitable[bool]]
    prepare: Callable[[], object] = lambda: None
    """Runs before every start and restart."""
    address: str = ""
    user: str = ""
    """System account of the process. Empty: the current one."""
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    """Sent by the kernel when the stack's process dies (Linux only)."""
    start_within: float = 30.0
    """Seconds until a start has failed."""
    stop_within: float = 10.0
    """Seconds from the stop signal to SIGKILL."""

    @property
    def launch_command(self) -> list[str]:
        """The command, preceded by the launcher. To be run as a child of this process."""
        launcher = [sys.executable, "-IS", "-c", LAUNCHER, str(int(self.death_signal)), str(os.getpid()), self.user]
        return [*launcher, *self.command]


class Supervisor:
    """Runs one part."""

    def __init__(
        self, part: Part, *, home: Path, started: StartedProcesses, report: Report, on_restart: Callable[[], None]
    ) -> None:
        self.part = part
        self.log = home / "logs" / f"{part.name}.log"
        self._home = home
        self._started = started
        self._report = report
        self._on_restart = on_restart
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Pid of the running process, if there is one."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the part, wait until it is ready, then restart it whenever it exits. Raises `PartFailed`."""
        self._report(self.part.name, "starting")
        self.log.write_text("")
        began = _now()
        await self._launch()
        self._report(self.part.name, f"ready after {_now() - began:.1f} s  {self.part.address}".rstrip())
        self._watch = asyncio.create_task(self._keep_alive(), name=f"keep {self.part.name} alive")

    async def stop(self) -> None:
        """Send the stop signal, kill the part if it takes too long, and return when it has ended."""
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
        """Kill the part, without waiting for it."""
        if self._watch:
            self._watch.cancel()
        if self._process:
            _kill(self._process)

    async def _launch(self) -> None:
        self.part.prepare()
        with self.log.open("ab") as log:
            self._process = process = await asyncio.create_subprocess_exec(
                *self.part.launch_command,
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                cwd=self._home,
                env=self.part.env,
                start_new_session=True,  # Ctrl-C goes to the stack only, which stops its parts in order
            )
        self._started.add(self.part.name, process.pid, self.part.death_signal)
        await self._until_ready(process)

    async def _until_ready(self, process: Process) -> None:
        try:
            async with asyncio.timeout(self.part.start_within):
                while process.returncode is None:
                    if await self.part.ready():
                        return
                    await asyncio.sleep(POLL_INTERVAL)
        except TimeoutError:
            _kill(process)
            await process.wait()
            raise self._failed(f"was not ready within {self.part.start_within:.0f} s") from None
        raise self._failed(f"{_exit_of(process.returncode)} while it was starting")

    async def _keep_alive(self) -> None:
        assert self._process
        pause = FIRST_PAUSE
        while True:
            began = _now()
            failure: PartFailed | None = self._failed(_exit_of(await self._process.wait()))
            if _now() - began > STABLE_AFTER:
                pause = FIRST_PAUSE
            while failure:
                self._report(self.part.name, f"{failure.message}\nrestarting in {pause:g} s")
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE)
                failure = await self._restart()

    async def _restart(self) -> PartFailed | None:
        try:
            await self._launch()
        except PartFailed as failure:
            return failure
        self._report(self.part.name, "ready again")
        self._on_restart()
        return None

    def _failed(self, failure: str) -> PartFailed:
        return PartFailed(self.part.name, failure, self.log)


def _kill(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _exit_of(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"


def _now() -> float:
    return asyncio.get_running_loop().time()
