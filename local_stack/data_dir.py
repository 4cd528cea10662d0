"""Files in the data directory: lock, keys, and the list of started processes."""

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

from local_stack import Misuse

LEFTOVER_GRACE = 15.0
"""Seconds until a leftover process is killed."""


def write_private(path: Path, text: str) -> None:
    """Replace the file atomically, with access for its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)


@contextmanager
def locked(data_dir: Path) -> Generator[None]:
    """Lock the data directory. The kernel releases the lock when the process ends. Raises `Misuse` if it is locked."""
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
    """The data directory's Fernet key. Created once, so that encrypted data stays readable after a restart."""
    return _key(data_dir / "encryption.key")


def sealing_settings(data_dir: Path, *, sealed: bool) -> dict[str, str]:
    """Settings of sealed workflow data. A data directory that was sealed once stays so: its workflows need the key."""
    path = data_dir / "payload.key"
    if not (sealed or path.exists()):
        return {}
    return {"PAYLOAD_KEYS": _key(path), "CODEC_KEYS": _key(data_dir / "codec.key")}


def _key(path: Path) -> str:
    if not path.exists():
        write_private(path, Fernet.generate_key().decode())
    return path.read_text().strip()


class StartedProcesses:
    """The processes of a stack, in a file, so that the next stack can end them if this one is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._processes: dict[str, dict[str, float]] = {}

    def add(self, part: str, pid: int, end_with: signal.Signals) -> None:
        """Save a process and the signal that ends it without damage to its data."""
        with suppress(psutil.NoSuchProcess):
            began = psutil.Process(pid).create_time()
            self._processes[part] = {"pid": pid, "began": began, "end_with": end_with}
            write_private(self._path, json.dumps(self._processes))

    def end_leftovers(self) -> None:
        """End the processes of an earlier stack. A reused pid is recognized by its start time and left alone."""
        if not self._path.exists():
            return
        leftovers = cast("dict[str, dict[str, float]]", json.loads(self._path.read_text()))
        alive = [process for entry in leftovers.values() if (process := _signalled(entry))]
        _, stubborn = psutil.wait_procs(alive, timeout=LEFTOVER_GRACE)
        for process in stubborn:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(stubborn)
        self.clear()

    def clear(self) -> None:
        """Delete the file: all processes have ended."""
        self._path.unlink(missing_ok=True)


def _signalled(entry: dict[str, float]) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(entry["pid"]))
        if process.create_time() == entry["began"]:
            process.send_signal(int(entry["end_with"]))
            return process
    return None
