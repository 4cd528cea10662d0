"""Admission of purchases: so many of this process are in progress at a time, and shops are admitted in turn.

All purchases share the processors. Without this, one shop's burst delays every other shop by the whole burst. Beside
another shop's purchases, a burst has fewer places than alone: docs/decisions/0067.
"""

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

# A purchase in progress for longer waits for Shopify, not for a processor. It gives its place to another, so that a
# hanging Shopify does not hold the places of all.
HELD_FOR = timedelta(seconds=2)

# A shop that ended a purchase less than this ago counts as one that purchases: its next purchase is on its way.
RECENT = timedelta(seconds=1)

# A shop's purchase beside those of another shop may take so many times as long as alone.
SLOWDOWN = 1.3

# So many of a shop may be in progress beside another shop's, whatever they do to it. A third: one, and after each a
# pause that is twice as long.
LEAST_BESIDE = 1 / 3


class NotAdmitted(Exception):
    """There was no free place in time. `retry_after`: when there may be one, at the present rate."""

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__("too many purchases are in progress")
        self.retry_after = retry_after


class Admission:
    """The places of one process.

    The waiting shop with the fewest purchases in progress is next, and the purchases of one shop keep their order.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._in_progress: Counter[int] = Counter()
        """By shop."""
        self._waiting: dict[int, deque[asyncio.Future[None]]] = {}
        """The purchases that wait, by shop. Of shops with equally many in progress, the first is the next."""
        self._left: dict[int, float] = {}
        """When a purchase of the shop left last."""
        self._beside = 1.0
        """How many of a shop may be in progress beside another shop's: an average. Below 1 it pauses between them."""
        self._pausing: set[int] = set()
        """Shops that pause."""
        self._alone: dict[int, float] = {}
        """Seconds that a purchase of the shop takes alone: a moving average. Rises while it is never alone."""
        self._seconds_held = HELD_FOR.total_seconds()
        """Moving average."""

    @asynccontextmanager
    async def place(self, shop_id: int, *, within: timedelta, pauses: bool = True) -> AsyncGenerator[None]:
        """Hold a place for the block, for at most `HELD_FOR`. Raises `NotAdmitted`.

        `pauses`: whether the shop may have to pause after it.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(shop_id, deque()).append(turn)
        self._admit_waiting()
        if not turn.done():
            await self._wait(shop_id, turn, within)
        loop = asyncio.get_running_loop()
        began, expiry = loop.time(), loop.call_later(HELD_FOR.total_seconds(), self._leave, shop_id)
        try:
            yield
        finally:
            held = min(loop.time() - began, HELD_FOR.total_seconds())
            self._seconds_held += (held - self._seconds_held) / 10
            if loop.time() < expiry.when():
                expiry.cancel()
                self._leave(shop_id, held if pauses else 0)

    def observe(self, shop_id: int, duration: timedelta) -> None:
        """Adapt to the duration of a successful purchase in its place."""
        seconds = duration.total_seconds()
        alone = self._alone.setdefault(shop_id, seconds)
        if self._in_progress.keys() == {shop_id}:
            # One slow purchase says little.
            self._alone[shop_id] += (min(seconds, 2 * alone) - alone) / 10
            return
        if shop_id in self._waiting:
            return
        self._alone[shop_id] = alone * 1.001 if seconds > alone else alone + (seconds - alone) / 10
        if seconds > alone * SLOWDOWN:
            self._beside = max(LEAST_BESIDE, self._beside * 0.9)
        else:
            self._beside = min(self._beside * 1.03, self._places)

    async def _wait(self, shop_id: int, turn: asyncio.Future[None], within: timedelta) -> None:
        try:
            async with asyncio.timeout(within.total_seconds()):
                await turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if turn.cancelled():
                self._remove(shop_id, turn)
            else:
                # The place was given just before the wait ended.
                self._leave(shop_id)
            if isinstance(error, TimeoutError):
                raise NotAdmitted(self._time_until_turn(shop_id)) from None
            raise

    def _leave(self, shop_id: int, held: float = 0) -> None:
        """Give a place back that was held for so many seconds of processing."""
        self._in_progress[shop_id] -= 1
        if not self._in_progress[shop_id]:
            del self._in_progress[shop_id]
        self._left[shop_id] = time.monotonic()
        share = self._share(shop_id)
        if held and share < 1 and shop_id in self._waiting:
            self._pausing.add(shop_id)
            asyncio.get_running_loop().call_later(held / share - held, self._resume, shop_id)
        self._admit_waiting()

    def _resume(self, shop_id: int) -> None:
        self._pausing.discard(shop_id)
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        while self._in_progress.total() < self._places:
            waiting = sorted(self._waiting, key=self._in_progress.__getitem__)
            shop_id = next(filter(self._may_start, waiting), None)
            if shop_id is None:
                return
            self._admit(shop_id)

    def _admit(self, shop_id: int) -> None:
        queue = self._waiting.pop(shop_id)
        turn = queue.popleft()
        if queue:
            # Back to the end, behind the other shops.
            self._waiting[shop_id] = queue
        if not turn.done():
            self._in_progress[shop_id] += 1
            turn.set_result(None)

    def _remove(self, shop_id: int, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(shop_id, deque())
        if turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[shop_id]

    def _may_start(self, shop_id: int) -> bool:
        return shop_id not in self._pausing and self._in_progress[shop_id] < max(1, int(self._share(shop_id)))

    def _share(self, shop_id: int) -> float:
        """How many of the shop may be in progress.

        A shop that never waits has all the places that it needs, and one with more slows it down: beside such a shop,
        others have at most as many as it has, or as are seen to do no harm.
        """
        now = time.monotonic()
        for one in [one for one, left in self._left.items() if left < now - RECENT.total_seconds()]:
            del self._left[one]
        others = (self._in_progress.keys() | self._left.keys()) - self._waiting.keys() - {shop_id}
        fewest = min((self._in_progress[one] for one in others), default=self._places)
        return max(self._beside, fewest if fewest > 1 else 0)

    def _time_until_turn(self, shop_id: int) -> timedelta:
        """Until a new purchase of this shop has its turn."""
        ahead = len(self._waiting.get(shop_id, ())) * len(self._waiting)
        places = min(self._places, self._share(shop_id) * max(1, len(self._waiting)))
        return timedelta(seconds=math.ceil(max(1, ahead) * self._seconds_held / places))
