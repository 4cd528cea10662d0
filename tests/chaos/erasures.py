"""Shopify's webhooks that erase customers, one after the other, while they buy and refund."""

import asyncio

from clients.shopify_webhooks import Topic
from tests.chaos.clients import ApiClients, Persistence
from tests.chaos.customers import WEBHOOK_ATTEMPTS
from tests.chaos.randomness import Clock, random_stream
from tests.chaos.requests import Erasure, Requests
from tests.chaos.shop import NoisyShop

TOPICS = (Topic.CUSTOMER_REDACTED, Topic.CUSTOMER_DELETED)


class Erasures:
    def __init__(self, shop: NoisyShop, clients: ApiClients, requests: Requests, *, seed: int) -> None:
        self._customers = shop.leaving
        self._clients = clients
        self._sent = requests.erasures
        self._seed = seed

    async def run(self, clock: Clock) -> None:
        """At regular intervals, and until the last webhook has been answered."""
        interval = clock.seconds / len(self._customers)
        async with asyncio.TaskGroup() as group:
            for number, customer in enumerate(self._customers):
                await clock.sleep((number + 0.5) * interval - clock.elapsed)
                random = random_stream(self._seed, "erasure", number)
                erasure = Erasure(customer=customer, topic=random.choice(TOPICS))
                self._sent.append(erasure)
                persistence = Persistence.choose(random, attempts=WEBHOOK_ATTEMPTS)
                group.create_task(self._clients.persist(erasure, persistence))
