"""Limits of the calls to one destination: a vendor, a shop at Shopify, or a subscriber's host.

A destination that hangs must not take the slots and connections of the others. The state is that of one process.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from secrets import SystemRandom

import httpx
import structlog

import metrics
from clients.outcomes import NotExecuted

TIMEOUTS_TO_OPEN = 5
"""So many time-outs in a row open the circuit breaker."""

# Short, as the call holds a slot of the worker meanwhile; long enough for a burst at a vendor that answers.
TURN_SECONDS = 1.0

_random = SystemRandom()

log = structlog.stdlib.get_logger("destinations")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of each destination.

    Attributes:
        in_flight: calls at the same time.
        open_seconds: how long an open circuit breaker holds every call, until it lets one through as a probe.
    """

    in_flight: int
    open_seconds: float


class Destination:
    """Calls in flight to one destination, and its circuit breaker.

    closed ── five time-outs in a row ──> open ── after `open_seconds` ──> probing ── any answer ──> closed
                                            └──────────── time-out ───────────┘
    """

    def __init__(self, vendor: str, limits: Limits) -> None:
        self._vendor = vendor
        self._limits = limits
        self._turns = asyncio.Semaphore(limits.in_flight)
        self._timeouts = 0
        self._probe_at = 0.0
        self._is_probing = False

    @asynccontextmanager
    async def call(self) -> AsyncGenerator[None]:
        """Make one call in the block. A time-out that leaves the block counts for the circuit breaker.

        Raises:
            NotExecuted: the call is held: too many are in flight, or the circuit breaker is open.
        """
        self._check()
        await self._take_turn()
        try:
            # It can have opened during the wait.
            self._check()
            async with self._watched():
                yield
        finally:
            self._turns.release()

    async def _take_turn(self) -> None:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            reason = f"held, as {self._limits.in_flight} calls are in flight"
            raise NotExecuted(self._vendor, reason, is_held=True) from None

    def _check(self) -> None:
        if not self._is_open:
            return
        wait = self._probe_at - _now()
        if wait <= 0 and not self._is_probing:
            return
        # Spread, so that the held calls do not return all at once.
        wait = max(wait, 0) + _random.uniform(0, self._limits.open_seconds)
        reason = f"held, as the circuit breaker is open after {self._timeouts} time-outs in a row"
        raise NotExecuted(self._vendor, reason, retry_after=timedelta(seconds=wait), is_held=True)

    @asynccontextmanager
    async def _watched(self) -> AsyncGenerator[None]:
        is_probe = self._is_probing = self._is_open
        try:
            yield
            self._close()
        except httpx.PoolTimeout:
            # Says nothing about the destination. Nor does a cancellation.
            raise
        except (TimeoutError, httpx.TimeoutException):
            self._count_timeout()
            raise
        except Exception:
            self._close()
            raise
        finally:
            if is_probe:
                self._is_probing = False

    @property
    def _is_open(self) -> bool:
        return self._timeouts >= TIMEOUTS_TO_OPEN

    def _count_timeout(self) -> None:
        was_open, self._timeouts = self._is_open, self._timeouts + 1
        if self._is_open and not was_open:
            metrics.OPEN_BREAKERS.labels(self._vendor.lower()).inc()
        if self._is_open:
            self._probe_at = _now() + self._limits.open_seconds
            log.warning("circuit breaker is open", vendor=self._vendor, time_outs=self._timeouts)

    def _close(self) -> None:
        if self._is_open:
            log.info("circuit breaker is closed", vendor=self._vendor)
            metrics.OPEN_BREAKERS.labels(self._vendor.lower()).dec()
        self._timeouts = 0


class Destinations:
    """The destinations of one client, by name. Made when they are first called."""

    def __init__(self, vendor: str, limits: Limits) -> None:
        self._vendor = vendor
        self._limits = limits
        self._known: dict[str, Destination] = {}

    def __getitem__(self, name: str) -> Destination:
        if name not in self._known:
            self._known[name] = Destination(self._vendor, self._limits)
        return self._known[name]


def _now() -> float:
    return asyncio.get_running_loop().time()
