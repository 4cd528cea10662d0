"""Orders that are cancelled: at the same time as their webhook, or somewhat later."""

import asyncio

from tests.chaos.clients import ApiClients, Persistence
from tests.chaos.randomness import random_stream
from tests.chaos.requests import Cancellation, Order, Requests

CHANCE = 0.5
MAX_SECONDS = 4.0


class Cancellations:
    """`are_on`: whether orders are cancelled."""

    def __init__(self, clients: ApiClients, requests: Requests, *, seed: int) -> None:
        self.are_on = True
        self._clients = clients
        self._sent = requests.cancellations
        self._seed = seed

    async def follow(self, order: Order, *, attempts: tuple[int, ...]) -> None:
        """Cancel the order, or not. One in three cancellations overtakes or accompanies the order's webhook."""
        random = random_stream(self._seed, "cancellation", order.number)
        if not self.are_on or random.random() >= CHANCE:
            return
        await asyncio.sleep(max(0.0, random.uniform(-MAX_SECONDS / 2, MAX_SECONDS)))
        cancellation = Cancellation(order=order)
        self._sent.append(cancellation)
        await self._clients.persist(cancellation, Persistence.choose(random, attempts=attempts))
