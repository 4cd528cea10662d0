"""Ports on loopback: which are taken, which are free."""

import random
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from local_stack.errors import Misuse

LOOPBACK = "127.0.0.1"
# Below what the kernel hands out by itself: Temporal's inner services and every connection take ports from there.
QUIET_RANGE = range(20_000, 32_000)


@dataclass(frozen=True)
class Claim:
    """A port that a part will listen on, and the option that moves it."""

    port: int
    purpose: str
    option: str


def check(claims: Iterable[Claim]) -> None:
    """Refuse a port that is taken, or claimed twice, before anything has been started."""
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
    """Ports that nobody listens on at this moment."""
    with ExitStack() as held:
        return [_first_free(held, candidates) for candidates in [_shuffled()] for _ in range(count)]


def _first_free(held: ExitStack, candidates: Iterator[int]) -> int:
    for port in candidates:
        try:
            held.enter_context(_bound(port))
        except OSError:
            continue
        return port
    raise Misuse(f"no free port between {QUIET_RANGE.start} and {QUIET_RANGE.stop}")


def _shuffled() -> Iterator[int]:
    return iter(random.sample(QUIET_RANGE, len(QUIET_RANGE)))


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        # As servers do: the remains of closed connections do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen()  # until it listens, Linux lets a second one bind
    except OSError:
        listener.close()
        raise
    return listener
