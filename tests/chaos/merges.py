"""Shopify's webhooks that merge two customers, while both buy, refund and have points that expire."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from sqlalchemy import text

from database import Sessions
from tests.chaos.clients import ApiClients, Persistence
from tests.chaos.customers import WEBHOOK_ATTEMPTS
from tests.chaos.randomness import Clock, random_stream
from tests.chaos.requests import Merge, Requests
from tests.chaos.shop import ChaosShop, NoisyShop

_LOGGED = """
    SELECT a.customer_id, a.facts ->> 'merged_into' AS kept, a.created_at FROM activity_log a
    JOIN shops s ON s.id = a.shop_id
    WHERE s.domain = :domain AND a.kind = 'customers_merged' AND a.facts ->> 'merged_into' IS NOT NULL
"""


class Merges:
    def __init__(self, shop: NoisyShop, clients: ApiClients, requests: Requests, *, seed: int) -> None:
        self._pairs = shop.merges
        self._clients = clients
        self._sent = requests.merges
        self._seed = seed

    async def run(self, clock: Clock) -> None:
        """At regular intervals, and until the last webhook has been answered."""
        interval = clock.seconds / len(self._pairs)
        async with asyncio.TaskGroup() as group:
            for number, (customer, kept) in enumerate(self._pairs):
                await clock.sleep((number + 0.5) * interval - clock.elapsed)
                merge = Merge(customer=customer, kept=kept)
                self._sent.append(merge)
                random = random_stream(self._seed, "merge", number)
                group.create_task(self._clients.persist(merge, Persistence.choose(random, attempts=WEBHOOK_ATTEMPTS)))


@dataclass(frozen=True, kw_only=True)
class LoggedMerges:
    """The merges of a shop, as its activity log has them, by customer: into whom, when, and how often."""

    into: dict[str, str] = field(default_factory=dict[str, str])
    at: dict[str, datetime] = field(default_factory=dict[str, datetime])
    times: Counter[str] = field(default_factory=Counter[str])

    @classmethod
    async def read(cls, store: Sessions, shop: ChaosShop) -> Self:
        merges = cls()
        async with store() as session:
            for customer, kept, at in await session.execute(text(_LOGGED), {"domain": shop.domain}):
                merges.into[customer], merges.at[customer] = kept, at
                merges.times[customer] += 1
        return merges
