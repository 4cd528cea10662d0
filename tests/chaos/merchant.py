"""The merchant's staff, who add and deduct points."""

import asyncio
from random import Random

from tests.chaos.clients import ApiClients, Persistence
from tests.chaos.randomness import Clock, random_stream
from tests.chaos.requests import Adjustment, Requests
from tests.chaos.shop import MODEST, RICH, NoisyShop

EVERY_SECONDS = 0.8


class Merchant:
    def __init__(self, shop: NoisyShop, clients: ApiClients, requests: Requests, *, seed: int) -> None:
        self._shop = shop
        self._clients = clients
        self._sent = requests.adjustments
        self._seed = seed

    async def run(self, clock: Clock) -> None:
        """Until the end of the run, and until the last adjustment has been answered."""
        pauses = random_stream(self._seed, "adjustments")
        async with asyncio.TaskGroup() as group:
            while await clock.sleep(pauses.expovariate(1 / EVERY_SECONDS)):
                random = random_stream(self._seed, "adjustment", len(self._sent))
                adjustment = self._choose(random, clock)
                self._sent.append(adjustment)
                group.create_task(self._clients.persist(adjustment, Persistence.choose(random)))

    def _choose(self, random: Random, clock: Clock) -> Adjustment:
        """Sometimes more is deducted than the customer has, and sometimes the customer was merged or soon will be."""
        [group] = random.choices((RICH, MODEST, self._shop.merging_now(clock)), (50, 20, 30))
        return Adjustment(
            key=f"chaos-{self._seed}-adjustment-{len(self._sent)}",
            customer=random.choice(group),
            points=random.choice((1, 40, 300, -1, -40, -700)),
        )
