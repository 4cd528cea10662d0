"""Customers of the quiet shop: they buy one at a time, whatever happens to the noisy shop."""

from datetime import timedelta

from tests.chaos.clients import ApiClients, Persistence
from tests.chaos.randomness import Clock, random_stream
from tests.chaos.requests import Requests
from tests.chaos.shop import CAPPED, COSTS, LIMITED, QUIET
from tests.evidence import Purchase

EVERY_SECONDS = 2.0
LIMIT = timedelta(seconds=8)
"""How long an answer may take while all processes run: less than vendors are waited for, and than a purchase has.

On two cores that other work kept busy, with a load of 14, the longest took 5.5 s.
"""
RECOVERY = timedelta(seconds=15)
"""How long a killed process may be noticed: it restarts, reconnects, and others wait for what it had begun."""
REWARDS = [reward for reward in COSTS if reward not in (CAPPED, LIMITED)]


class QuietCustomers:
    def __init__(self, clients: ApiClients, requests: Requests, *, seed: int) -> None:
        self._clients = clients
        self._sent = requests.purchases
        self._seed = seed

    async def run(self, clock: Clock) -> None:
        """Until the end of the run, and until the last purchase has been answered."""
        random = random_stream(self._seed, "quiet")
        while await clock.sleep(random.expovariate(1 / EVERY_SECONDS)):
            key = f"chaos-{self._seed}-quiet-{len(self._sent)}"
            purchase = Purchase(key=key, customer=random.choice(QUIET), reward=random.choice(REWARDS))
            persistence = Persistence(parallel=1, pauses=[1.0] * 6, repeat_after=None, first_api=random.randrange(2))
            self._sent.append(purchase)
            await self._clients.persist(purchase, persistence)
