"""What a purchase may cost, counted by PostgreSQL, Temporal and the vendors. More in docs/performance.md."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from benchmarks.history_cost import HistoryCost
from benchmarks.statement_log import DatabaseCost, StatementLog, statement_log
from db.tables import Redemption
from domain.ids import purchase_workflow_id, refund_workflow_id
from local_stack.stack import LocalStack
from tests.builders import a_customer, a_lot, a_reward, a_shop
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_for_end, wait_until

VENDORS = ("shopify", "klaviyo", "omnisend", "postscript")
REPETITIONS = 8
CONNECTIONS = 10
"""Size of each pool."""
BUYERS = CONNECTIONS + REPETITIONS


@dataclass(frozen=True, kw_only=True)
class Measured:
    database: DatabaseCost
    history: HistoryCost
    vendor_calls: int

    def check(self, *, statements: int, transactions: int, events: int, vendor_calls: int) -> None:
        """Fail above the budget."""
        assert self.database.statements <= statements, self.database.listing()
        assert self.database.transactions <= transactions, self.database.listing()
        assert self.history.events <= events
        assert self.vendor_calls == vendor_calls


@dataclass(frozen=True, kw_only=True)
class Meter:
    """Measures what is done at a shop."""

    shop: Shop
    log: StatementLog

    async def cheapest(self, perform: Callable[[str], Awaitable[str]]) -> Measured:
        """The cheapest of some repetitions, each for another customer. `perform` returns the id of its workflow.

        A new database connection and a workflow task that times out on a busy machine add to the others.
        """
        measured = [await self._measure(perform, customer) for customer in self.shop.customers[CONNECTIONS:]]
        return min(measured, key=lambda one: (one.database.statements, one.history.events))

    async def _measure(self, perform: Callable[[str], Awaitable[str]], customer: str) -> Measured:
        service, before = self.shop.service, await self._vendor_calls()
        self.log.restart()
        handle = service.temporal.get_workflow_handle(await perform(customer))
        await wait_for_end(handle)
        database = self.log.read()
        history = HistoryCost.of(await handle.fetch_history())
        return Measured(database=database, history=history, vendor_calls=await self._vendor_calls() - before)

    async def _vendor_calls(self) -> int:
        return sum([(await self.shop.service.vendor(name))["requests"] for name in VENDORS])


@pytest.fixture
async def meter(service: Service, postgres: LocalStack) -> AsyncGenerator[Meter]:
    rewards = [a_reward(), a_reward("too_expensive", points_cost=5_000)]
    shop = await service.open_shop(a_shop(*(a_customer(a_lot(1_000)) for _ in range(BUYERS)), rewards=rewards))
    # Opens the connections of both pools.
    await asyncio.gather(*(purchase(shop, customer) for customer in shop.customers[:CONNECTIONS]))
    async with statement_log(postgres.database_url, postgres.log("postgres")) as log:
        yield Meter(shop=shop, log=log)


async def purchase(shop: Shop, customer: str) -> str:
    redemption = (await shop.purchase(customer=customer)).json()["data"]["id"]
    workflow = purchase_workflow_id(redemption, 1)
    await wait_for_end(shop.service.temporal.get_workflow_handle(workflow))
    return workflow


async def workflow_of(service: Service, customer: str) -> str:
    """Id of the customer's only workflow. Temporal lists a workflow some time after its start."""
    found: list[str] = []

    async def is_listed() -> bool:
        found.extend([one.id async for one in service.temporal.list_workflows(f"CustomerId = '{customer}'")])
        return bool(found)

    await wait_until(is_listed)
    return found[0]


async def test_a_purchase_with_four_channels(meter: Meter) -> None:
    measured = await meter.cheapest(lambda customer: purchase(meter.shop, customer))

    measured.check(statements=22, transactions=14, events=20, vendor_calls=5)


async def test_a_refused_purchase(meter: Meter) -> None:
    async def refused(customer: str) -> str:
        answer = await meter.shop.purchase(customer=customer, reward="too_expensive", key=customer)
        assert answer.status_code == 422
        return await workflow_of(meter.shop.service, customer)

    measured = await meter.cheapest(refused)

    measured.check(statements=20, transactions=6, events=12, vendor_calls=0)


async def test_a_refund(meter: Meter) -> None:
    await asyncio.gather(*(purchase(meter.shop, customer) for customer in meter.shop.customers[CONNECTIONS:]))
    bought = {row.customer_id: row for row in await meter.shop.redemptions()}

    async def refund(customer: str) -> str:
        row: Redemption = bought[customer]
        assert (await meter.shop.refund(row.id)).status_code == 200
        return refund_workflow_id(row.id)

    measured = await meter.cheapest(refund)

    measured.check(statements=46, transactions=18, events=28, vendor_calls=7)
