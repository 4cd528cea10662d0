"""Random streams from the seed, one for each part of the run, so that none shifts another's decisions."""

import asyncio
import time
from random import Random


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
