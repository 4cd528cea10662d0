"""Customers: they buy, then keep the code, use it in an order, return it for a refund, or both at once."""

import asyncio
from enum import StrEnum

from tests.chaos.cancellations import Cancellations
from tests.chaos.clients import ApiClients, Persistence
from tests.chaos.randomness import Clock, random_stream
from tests.chaos.requests import Order, Requests
from tests.chaos.shop import (
    COSTS,
    FLEXIBLE,
    LADDER,
    LIMITED,
    MODEST,
    NEW,
    POOR,
    RICH,
    STEP,
    UNKNOWN_CUSTOMER,
    UNKNOWN_REWARD,
    NoisyShop,
)
from tests.chaos.vendors import Vendors
from tests.evidence import Purchase, Refund

PER_SECOND = 4.0
AT_ONCE = 16
"""Customers that buy at the same time; more have to wait. The parts are to fail from faults, not from load."""
BURST, BURST_CHANCE = 10, 0.02
REWARD_WEIGHTS = dict(zip([*COSTS, FLEXIBLE, UNKNOWN_REWARD], [30, 30, 27, 12, 15, 30, 1], strict=True))
QUEUED_CHANCE = 0.25
WRONG_POINTS = (LADDER[0] - STEP, LADDER[0] + 1, LADDER[-1] + STEP)
WRONG_CHANCE = 0.1
KEEN = RICH[:5]
"""Rich customers who want the limited reward, and soon have it."""
WEBHOOK_ATTEMPTS = (40,)
"""Shopify repeats a webhook for hours."""


class Plan(StrEnum):
    """What a customer does with a code."""

    KEEP = "keep"
    REFUND = "refund"
    ORDER = "order"
    REFUND_AFTER_ORDER = "refund after order"
    BOTH_AT_ONCE = "both at once"


PLAN_WEIGHTS = {Plan.KEEP: 25, Plan.REFUND: 35, Plan.ORDER: 15, Plan.REFUND_AFTER_ORDER: 5, Plan.BOTH_AT_ONCE: 20}


class Customers:
    def __init__(
        self,
        shop: NoisyShop,
        clients: ApiClients,
        vendors: Vendors,
        cancellations: Cancellations,
        requests: Requests,
        *,
        may_queue: bool,
        seed: int,
    ) -> None:
        self.active = 0
        self._cancellations = cancellations
        self._may_queue = may_queue
        self._shop = shop
        self._places = asyncio.Semaphore(AT_ONCE)
        self._clients = clients
        self._vendors = vendors
        self._requests = requests
        self._seed = seed

    async def run(self, clock: Clock) -> None:
        """Until the end of the run, and until the last customer has finished."""
        random = random_stream(self._seed, "arrivals")
        async with asyncio.TaskGroup() as group:
            while await clock.sleep(random.expovariate(PER_SECOND)):
                for _ in range(BURST if random.random() < BURST_CHANCE else 1):
                    await self._places.acquire()
                    group.create_task(self._visit(len(self._requests.purchases), clock))
                    await asyncio.sleep(0)

    async def _visit(self, number: int, clock: Clock) -> None:
        self.active += 1
        purchase = await self._buy(number, clock)
        self._places.release()
        if purchase.successes:
            await self._follow(number, purchase)
        self.active -= 1

    async def _buy(self, number: int, clock: Clock) -> Purchase:
        random = random_stream(self._seed, "customer", number)
        # Customers who are erased or merged at about this time: they buy before, meanwhile and afterwards.
        leaving = clock.nearby(self._shop.leaving)
        groups = (RICH, MODEST, POOR, [UNKNOWN_CUSTOMER], NEW, leaving, self._shop.merging_now(clock))
        [group] = random.choices(groups, (67, 10, 4, 1, 6, 12, 25))
        [reward] = random.choices(list(REWARD_WEIGHTS), list(REWARD_WEIGHTS.values()))
        customer = random.choice(KEEN if group is RICH and reward == LIMITED else group)
        points = random.choice(WRONG_POINTS if random.random() < WRONG_CHANCE else LADDER)
        purchase = Purchase(
            key=f"chaos-{self._seed}-{number}",
            customer=customer,
            reward=reward,
            points=points if reward == FLEXIBLE else None,
            is_queued=self._may_queue and random.random() < QUEUED_CHANCE,
        )
        self._requests.purchases.append(purchase)
        await self._clients.persist(purchase, Persistence.choose(random))
        return purchase

    async def _follow(self, number: int, purchase: Purchase) -> None:
        """Carry out the customer's plan for the code, after a while."""
        random = random_stream(self._seed, "plan", number)
        [plan] = random.choices(list(PLAN_WEIGHTS), list(PLAN_WEIGHTS.values()))
        if plan is Plan.KEEP:
            return
        await asyncio.sleep(random.uniform(0, 4))
        if plan is Plan.BOTH_AT_ONCE:
            await asyncio.gather(self._order(number, purchase), self._refund(number, purchase))
            return
        if plan is not Plan.REFUND:
            await self._order(number, purchase)
        if plan is not Plan.ORDER:
            await self._refund(number, purchase)

    async def _refund(self, number: int, purchase: Purchase) -> None:
        refund = Refund(redemption_id=purchase.successes[0].data["id"])
        self._requests.refunds.append(refund)
        await self._clients.persist(refund, Persistence.choose(random_stream(self._seed, "refund", number)))

    async def _order(self, number: int, purchase: Purchase) -> None:
        """Use the code, and send Shopify's webhook. One webhook in three comes before the use is counted."""
        random = random_stream(self._seed, "order", number)
        data, counted = purchase.successes[0].data, random.random() < 2 / 3
        code: str = data["attributes"]["discount_code"]
        if counted and not await self._vendors.use(code):
            return
        order = Order(number=number, redemption_id=data["id"], code=code, counted=counted)
        self._requests.orders.append(order)
        await asyncio.gather(
            self._clients.persist(order, Persistence.choose(random, attempts=WEBHOOK_ATTEMPTS)),
            self._cancellations.follow(order, attempts=WEBHOOK_ATTEMPTS),
        )
        if not counted:
            await self._vendors.use(code)
