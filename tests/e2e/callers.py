"""Customers who buy all the time, while a test changes what serves them."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from typing import Self

import httpx

from tests.builders import a_customer, a_lot, a_shop
from tests.e2e.deployment import COST, Deployment
from tests.evidence import Answer, Purchase
from tests.shop import Shop
from tests.waiting import wait_until

AWARD = COST * 200


class Callers:
    """The customers of one shop. Each buys again as soon as it has an answer."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.api: httpx.AsyncClient | None = None
        """Where a load balancer would send requests. None: the deployment's own API."""
        self.purchases: list[Purchase] = []
        self._stopping = False

    @classmethod
    async def of(cls, deployment: Deployment, number: int) -> Self:
        """Open a shop with this number of customers, each with points for 200 purchases."""
        return cls(await deployment.open_large_shop(a_shop(*(a_customer(a_lot(AWARD)) for _ in range(number)))))

    @asynccontextmanager
    async def buying(self) -> AsyncGenerator[None]:
        """Buy in the block. At its end every request has its answer."""
        async with asyncio.TaskGroup() as group:
            for customer in self.shop.customers:
                group.create_task(self._buy(customer))
            yield
            self._stopping = True

    async def get_codes(self, number: int) -> None:
        """Wait until that many more purchases were answered with 201."""
        enough = self.statuses[201] + number

        async def are_enough() -> bool:
            return self.statuses[201] >= enough

        await wait_until(are_enough)

    @property
    def statuses(self) -> Counter[int | None]:
        return Counter(answer.status for purchase in self.purchases for answer in purchase.answers)

    async def _buy(self, customer: str) -> None:
        for number in count():
            if self._stopping:
                return
            key = f"{customer}-{number}"
            response = await self.shop.purchase(customer=customer, key=key, api=self.api)
            answers = [Answer.of(response)]
            self.purchases.append(Purchase(key=key, customer=customer, reward="reward_abc", answers=answers))
