"""Random streams from the seed, one for each part of the run, so that none shifts another's decisions."""

import asyncio
import time
from collections.abc import Sequence
from random import Random
from typing import TypeVar

Item = TypeVar("Item")


def random_stream(seed: int, *labels: object) -> Random:
    return Random("/".join(map(str, (seed, *labels))))


class Clock:
    """The duration of the run, for everything that happens in parallel."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    async def sleep(self, seconds: float) -> bool:
        """Sleep, but not beyond the end. Returns whether there is time left."""
        await asyncio.sleep(max(0.0, min(seconds, self.seconds - self.elapsed)))
        return self.elapsed < self.seconds

    def nearby(self, series: Sequence[Item], *, past: int = 1) -> Sequence[Item]:
        """Of what happens one after the other in the run: that of about this time. `past`: how many of earlier, too."""
        turn = int(self.elapsed / self.seconds * len(series))
        return series[max(0, turn - past) : turn + 2] or series[-1:]
