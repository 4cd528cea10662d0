"""Files of a data directory that the stack keeps for itself: the lock, its key, and what it started."""

import fcntl
import json
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import psutil  # comes with the PostgreSQL wheel
from cryptography.fernet import Fernet

from local_stack.errors import Misuse

LEFTOVER_GRACE = 15.0


def write_private(path: Path, text: str) -> None:
    """Replace the file at once, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)


@contextmanager
def exclusive(data_dir: Path) -> Generator[None]:
    """Hold the data directory. The kernel lets go of the lock when its holder dies, however it dies."""
    with (data_dir / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Misuse(
                f"{data_dir} is in use by another local stack (process {lock.read().strip() or 'unknown'}); "
                "stop that one, or choose another with --data-dir"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def encryption_key(data_dir: Path) -> str:
    """The key of this data directory: made once, since what it encrypted has to be read after a restart."""
    path = data_dir / "encryption.key"
    if not path.exists():
        write_private(path, Fernet.generate_key().decode())
    return path.read_text().strip()


class Started:
    """Notes which processes run, so that what outlived a killed stack is ended by the next one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._notes: dict[str, dict[str, float]] = {}

    def note(self, part: str, pid: int, end_with: signal.Signals) -> None:
        """Remember a process, and the signal that ends it without harm to its data."""
        with suppress(psutil.NoSuchProcess):
            began = psutil.Process(pid).create_time()
            self._notes[part] = {"pid": pid, "began": began, "end_with": end_with}
            write_private(self._path, json.dumps(self._notes))

    def end_leftovers(self) -> None:
        """End the processes of an earlier stack on this directory. A pid that was used again is left alone."""
        if not self._path.exists():
            return
        notes = cast("dict[str, dict[str, float]]", json.loads(self._path.read_text()))
        alive = [process for note in notes.values() if (process := _signalled(note))]
        _, stubborn = psutil.wait_procs(alive, timeout=LEFTOVER_GRACE)
        for process in stubborn:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(stubborn)
        self.forget()

    def forget(self) -> None:
        """All of it has ended."""
        self._path.unlink(missing_ok=True)


def _signalled(note: dict[str, float]) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(note["pid"]))
        if process.create_time() == note["began"]:
            process.send_signal(int(note["end_with"]))
            return process
    return None
