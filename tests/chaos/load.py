"""Customers who buy: alone or twice at once, stubborn or not, some to ask again after they had their answer."""

import asyncio
from random import Random

from tests.chaos.apis import Apis, Manner
from tests.chaos.dice import Clock, dice
from tests.chaos.sequels import Sequels
from tests.chaos.wishes import Purchase, Wishes
from tests.chaos.world import COSTS, MODEST, POOR, RICH, UNKNOWN_CUSTOMER, UNKNOWN_REWARD

EACH_SECOND = 4.0
AT_ONCE = 24
"""Customers in the shop; more wait at the door. Faults are to bring the parts down, not a queue."""
BURST, BURST_CHANCE = 10, 0.02
REWARDS = [*COSTS, UNKNOWN_REWARD]
WEIGHTS = [30, 30, 27, 12, 1]


class Load:
    """Lets customers in, whatever becomes of those before them."""

    def __init__(self, apis: Apis, sequels: Sequels, wishes: Wishes, *, seed: int) -> None:
        self.visiting = 0
        self._room = asyncio.Semaphore(AT_ONCE)
        self._apis = apis
        self._sequels = sequels
        self._wishes = wishes
        self._seed = seed

    async def run(self, clock: Clock) -> None:
        """Until the clock has run out, and the last customer has gone."""
        door = dice(self._seed, "door")
        async with asyncio.TaskGroup() as visits:
            while await clock.rest(door.expovariate(EACH_SECOND)):
                for _ in range(BURST if door.random() < BURST_CHANCE else 1):
                    await self._room.acquire()
                    visits.create_task(self._visit(len(self._wishes.purchases)))
                    await asyncio.sleep(0)

    async def _visit(self, number: int) -> None:
        self.visiting += 1
        purchase = await self._buy(number)
        self._room.release()
        if purchase.bought:
            await self._sequels.follow(number, purchase)
        self.visiting -= 1

    async def _buy(self, number: int) -> Purchase:
        chance = dice(self._seed, "customer", number)
        customer, [reward] = _customer(chance), chance.choices(REWARDS, WEIGHTS)
        purchase = Purchase(key=f"chaos-{self._seed}-{number}", customer=customer, reward=reward)
        self._wishes.purchases.append(purchase)
        await self._apis.insist(purchase, Manner.of(chance))
        return purchase


def _customer(chance: Random) -> str:
    [kind] = chance.choices((RICH, MODEST, POOR, [UNKNOWN_CUSTOMER]), (80, 14, 5, 1))
    return chance.choice(kind)
