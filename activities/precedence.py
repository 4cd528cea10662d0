"""Purchases come before deliveries: a customer waits for a purchase, but not for the first send of its events."""

import asyncio
import time
from contextlib import suppress
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

QUIET_SECONDS = 0.03
"""Longer than a worker pauses between purchases that follow each other, shorter than Shopify takes for a code."""

# As long as purchases of a burst wait for their turn. `FIRST_SENDS_TIMEOUT` of the workflows is longer.
LONGEST_WAIT_SECONDS = 25.0

# With more, the first of them is made, so that deliveries keep up with purchases that never pause. Each holds a slot of
# the background worker.
MOST_WAITING = 800

# First sends that have waited do not all start at once: a vendor has few calls in flight, and holds the others.
PACE_SECONDS = 0.01

FIRST_SENDS = "deliver_all"


class Precedence:
    """Whether this process is busy with purchases, for its two workers."""

    def __init__(self) -> None:
        self._last_step = float("-inf")
        self._waiting = 0
        self._first = asyncio.Lock()

    def note_step(self) -> None:
        """A step of a purchase begins or ends now."""
        self._last_step = time.monotonic()

    async def give_way(self) -> None:
        """Wait, in order of arrival, until there are no purchases, too many wait, or the longest wait is over."""
        self._waiting += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_WAIT_SECONDS), self._first:
                    await self._quiet()
        finally:
            self._waiting -= 1

    async def _quiet(self) -> None:
        # Each step meanwhile prolongs the wait.
        while self._waiting <= MOST_WAITING and (rest := self._until_quiet()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(rest)
        if 1 < self._waiting <= MOST_WAITING:
            await asyncio.sleep(PACE_SECONDS)

    def _until_quiet(self) -> float:
        return self._last_step + QUIET_SECONDS - time.monotonic()


class NotesSteps(Interceptor):
    """Notes the steps of purchases. For the worker of purchases."""

    def __init__(self, precedence: Precedence) -> None:
        self._precedence = precedence

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Wrap one activity."""
        return _Step(next, self._precedence)


class GivesWay(Interceptor):
    """Lets first sends wait while there are purchases. For the background worker."""

    def __init__(self, precedence: Precedence) -> None:
        self._precedence = precedence

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Wrap one activity."""
        return _FirstSend(next, self._precedence)


class _Noticing(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, precedence: Precedence) -> None:  # noqa: A002
        super().__init__(next)
        self._precedence = precedence


class _Step(_Noticing):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        self._precedence.note_step()
        try:
            return await super().execute_activity(input)
        finally:
            self._precedence.note_step()


class _FirstSend(_Noticing):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        if activity.info().activity_type == FIRST_SENDS:
            await self._precedence.give_way()
        return await super().execute_activity(input)
