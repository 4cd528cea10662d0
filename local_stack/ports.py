"""Ports on loopback."""

import random
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

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
    """Different ports without a listener, at this moment."""
    candidates = iter(random.sample(CANDIDATES, len(CANDIDATES)))
    with ExitStack() as held:
        return [_first_free(held, candidates) for _ in range(count)]


def _first_free(held: ExitStack, candidates: Iterator[int]) -> int:
    for port in candidates:
        try:
            held.enter_context(_bound(port))
        except OSError:
            continue
        return port
    raise Misuse(f"no free port between {CANDIDATES.start} and {CANDIDATES.stop}")


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
