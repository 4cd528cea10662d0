"""Admission of purchases: so many of this process are in progress at a time, and shops are admitted in turn.

All purchases share the processors. Without this, one shop's burst delays every other shop by the whole burst.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

# A purchase in progress for longer waits for Shopify, not for a processor. It gives its place to another, so that a
# shop whose Shopify hangs does not hold the places of all.
HELD_FOR = timedelta(seconds=2)


class NotAdmitted(Exception):
    """There was no free place in time. `retry_after`: when there may be one, at the present rate."""

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__("too many purchases are in progress")
        self.retry_after = retry_after


class Admission:
    """The places of one process. Waiting shops take turns, the purchases of one shop keep their order."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._free = places
        self._waiting: dict[int, deque[asyncio.Future[None]]] = {}
        """The purchases that wait, by shop. The first shop is the next."""
        self._seconds_held = HELD_FOR.total_seconds()
        """Moving average."""

    @asynccontextmanager
    async def place(self, shop_id: int, *, within: timedelta) -> AsyncGenerator[None]:
        """Hold a place for the block, for at most `HELD_FOR`. Raises `NotAdmitted`."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(shop_id, within)
        loop = asyncio.get_running_loop()
        began, expiry = loop.time(), loop.call_later(HELD_FOR.total_seconds(), self._leave)
        try:
            yield
        finally:
            held = min(loop.time() - began, HELD_FOR.total_seconds())
            self._seconds_held += (held - self._seconds_held) / 10
            if loop.time() < expiry.when():
                expiry.cancel()
                self._leave()

    async def _wait(self, shop_id: int, within: timedelta) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(shop_id, deque()).append(turn)
        try:
            async with asyncio.timeout(within.total_seconds()):
                await turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if not turn.cancelled():
                # The place was given just before the wait ended.
                self._leave()
            if isinstance(error, TimeoutError):
                raise NotAdmitted(self._time_until_turn(shop_id)) from None
            raise

    def _leave(self) -> None:
        while self._waiting:
            shop_id = next(iter(self._waiting))
            queue = self._waiting.pop(shop_id)
            turn = queue.popleft()
            if queue:
                # Back to the end, behind the other shops.
                self._waiting[shop_id] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _time_until_turn(self, shop_id: int) -> timedelta:
        """Until a new purchase of this shop has its turn."""
        ahead = sum(not turn.done() for turn in self._waiting.get(shop_id, ())) * len(self._waiting)
        return timedelta(seconds=math.ceil(max(1, ahead) * self._seconds_held / self._places))
