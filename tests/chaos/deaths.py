"""Parts that die: at any time, without a word. Their supervisor starts them again."""

import os
import signal
from contextlib import suppress

from tests.chaos.dice import Clock, dice
from tests.chaos.fleet import MORTAL, Fleet
from tests.chaos.records import Tally

EVERY_SECONDS = 7.0


class Deaths:
    """Kills one part after the other."""

    def __init__(self, fleet: Fleet, tally: Tally, *, seed: int) -> None:
        self._fleet = fleet
        self._tally = tally
        self._chance = dice(seed, "deaths")

    async def run(self, clock: Clock) -> None:
        """Until the clock has run out."""
        pause = self._chance.uniform(0.5, 3)  # a short run has its deaths, too
        while await clock.rest(pause):
            pause = self._chance.expovariate(1 / EVERY_SECONDS)
            victims = self._chance.sample(MORTAL, self._chance.choices((1, 2), (85, 15))[0])
            for part in victims:
                self._kill(part)

    def _kill(self, part: str) -> None:
        pid = self._fleet.pids.get(part)
        if pid is None:
            self._tally.note(f"{part} would have died, but is dead")
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self._tally.kills[part] += 1
            self._tally.note(f"{part} killed")
