"""The merchant's own people, who give customers points and take some."""

import asyncio
from random import Random

from tests.chaos.apis import Apis, Manner
from tests.chaos.dice import Clock, dice
from tests.chaos.wishes import Adjustment, Wishes
from tests.chaos.world import MODEST, RICH

EVERY_SECONDS = 0.8


class Adjustments:
    """Points by hand."""

    def __init__(self, apis: Apis, wishes: Wishes, *, seed: int) -> None:
        self._apis = apis
        self._made = wishes.adjustments
        self._seed = seed

    async def run(self, clock: Clock) -> None:
        """Until the clock has run out, and the last one is answered."""
        pauses = dice(self._seed, "adjustments")
        async with asyncio.TaskGroup() as all_of_them:
            while await clock.rest(pauses.expovariate(1 / EVERY_SECONDS)):
                chance = dice(self._seed, "adjustment", len(self._made))
                adjustment = self._next(chance)
                self._made.append(adjustment)
                all_of_them.create_task(self._apis.insist(adjustment, Manner.of(chance)))

    def _next(self, chance: Random) -> Adjustment:
        """Sometimes more is taken than there is."""
        return Adjustment(
            key=f"chaos-{self._seed}-adjustment-{len(self._made)}",
            customer=chance.choice(RICH if chance.random() < 0.7 else MODEST),
            points=chance.choice((1, 40, 300, -1, -40, -700)),
        )
