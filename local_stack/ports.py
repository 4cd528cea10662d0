"""Ports on loopback."""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from local_stack import Misuse

LOOPBACK = "127.0.0.1"
# Below the kernel's ephemeral range, from which Temporal's internal services and all connections take their ports.
CANDIDATES = range(20_000, 32_000)


@dataclass(frozen=True)
class Claim:
    """A port that a part will listen on, and the option that changes it."""

    port: int
    purpose: str
    option: str


def check(claims: Iterable[Claim]) -> None:
    """Raise `Misuse` if a port is in use or claimed twice. Called before anything is started."""
    with ExitStack() as held:
        for claim in claims:
            try:
                held.enter_context(_bound(claim.port))
            except OSError as error:
                raise Misuse(
                    f"port {claim.port} for {claim.purpose} cannot be used ({error.strerror}): "
                    f"choose another with {claim.option}"
                ) from None


def free(count: int) -> list[int]:
    """Different ports without a listener. `free` chooses them in no other process until this one ends."""
    candidates = (port for port in random.sample(CANDIDATES, len(CANDIDATES)) if port not in _chosen and _reserve(port))
    chosen = list(islice(candidates, count))
    if len(chosen) < count:
        raise Misuse(f"no free port between {CANDIDATES.start} and {CANDIDATES.stop}")
    _chosen.update(chosen)
    return chosen


def free_or(preferred: Iterable[int]) -> list[int]:
    """These ports, each replaced by another one if it is not free."""
    return [port if _reserve(port) else free(1)[0] for port in preferred]


_chosen: set[int] = set()


def _reserve(port: int) -> bool:
    """Reserve the port if it is free. The kernel ends the reservation when this process ends."""
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        _bound(port).close()
    except OSError:
        return False
    return True


@cache
def _reservations() -> int:
    """Descriptor of the file whose byte N is locked while port N is reserved. Closing it would end the reservations."""
    return os.open(Path(tempfile.gettempdir()) / f"pointsaga-ports-{os.getuid()}", os.O_RDWR | os.O_CREAT, 0o600)


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        # As servers do: connections in TIME_WAIT do not block the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen()  # with SO_REUSEADDR, Linux refuses a second bind only when the first socket listens
    except OSError:
        listener.close()
        raise
    return listener
