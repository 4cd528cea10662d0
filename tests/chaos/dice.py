"""Chance from the seed: each part of the run has dice of its own, so that none shifts another's decisions."""

import asyncio
import time
from random import Random


def dice(seed: int, *about: object) -> Random:
    """The dice of one part of the run."""
    return Random("/".join(map(str, (seed, *about))))  # noqa: S311 - to be repeated, not to be secret


class Clock:
    """How long the run lasts, for all that go on side by side."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.monotonic()

    @property
    def gone(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    async def rest(self, seconds: float) -> bool:
        """Sleep, but not beyond the end; whether there is still time."""
        await asyncio.sleep(max(0.0, min(seconds, self.seconds - self.gone)))
        return self.gone < self.seconds
