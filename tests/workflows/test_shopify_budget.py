"""Purchases within the Shopify budget of their shop."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from db.shopify_budgets import find_budget, store_figures
from db.tables import LedgerEntry
from domain.shopify_budget import CREATION_COST, ShopifyBudget
from settings import Settings
from tests.builders import Json, a_customer, a_lot, a_shop
from tests.service import Service
from tests.shop import Shop
from worker import Pools, run_workers

DEADLINE = 6


@pytest.fixture
async def service(
    settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment, _empty_database: None
) -> AsyncGenerator[Service]:
    """A service with two workers, whose purchases time out after 6 s."""
    settings = settings.model_copy(update={"purchase_deadline_seconds": DEADLINE})
    async with Service.running(settings, engine, temporal.client) as service:
        # A client has one worker per task queue.
        address = temporal.client.service_client.config.target_host
        client = await Client.connect(address, data_converter=temporal.client.data_converter)
        pools = Pools(sessions=service.store, http=service.worker_http)
        async with run_workers(client, service.settings, pools, pools):
            yield service
        assert await service.audit() == []


async def open_shop(service: Service, *, customers: int, restore_rate: float | None = None) -> Shop:
    """A shop whose bucket at Shopify holds what is restored in 20 s."""
    shop = await service.open_shop(a_shop(*(a_customer(a_lot(1_000)) for _ in range(customers))))
    if restore_rate is not None:
        await set_bucket(shop, restore_rate)
    return shop


async def set_bucket(shop: Shop, restore_rate: float) -> None:
    """Fill the shop's bucket at Shopify."""
    path = f"/_sandbox/shopify/shops/{shop.domain}"
    (await shop.service.vendors.put(path, json={"restore_rate": restore_rate})).raise_for_status()


async def budget_of(shop: Shop) -> ShopifyBudget | None:
    async with shop.service.store() as session:
        return await find_budget(session, (await shop.row()).id)


async def ledger(shop: Shop) -> list[Any]:
    async with shop.service.store() as session:
        query = select(LedgerEntry.id).where(LedgerEntry.shop_id == (await shop.row()).id)
        return list(await session.scalars(query.order_by(LedgerEntry.id)))


async def outcomes(shop: Shop) -> Counter[str]:
    """What Shopify answered."""
    return Counter(call["outcome"] for call in (await shop.service.vendor("shopify"))["calls"])


async def test_a_purchase_without_a_turn_in_time_is_refused_at_once(service: Service) -> None:
    shop = await open_shop(service, customers=2, restore_rate=1)
    await shop.buy()
    second = shop.customers[1]
    before = await ledger(shop), await shop.balance(second), await outcomes(shop)

    refused = await shop.purchase(customer=second, key="k")

    assert refused.status_code == 503, refused.text
    [error] = refused.json()["errors"]
    assert (error["code"], error["meta"]) == ("shopify_unavailable", {"retry": "same_key"})
    assert 8 <= int(refused.headers["retry-after"]) <= CREATION_COST
    assert refused.elapsed < timedelta(seconds=DEADLINE / 2)
    assert (await ledger(shop), await shop.balance(second), await outcomes(shop)) == before
    assert len(await shop.redemptions()) == 1

    await service.let_time_pass(timedelta(seconds=int(refused.headers["retry-after"])))
    await set_bucket(shop, 1)
    assert (await shop.purchase(customer=second, key="k")).status_code == 201


async def test_a_burst_beyond_the_budget_is_not_throttled(service: Service) -> None:
    """The bucket is enough for 20 purchases. Both workers keep to it together."""
    shop = await open_shop(service, customers=41, restore_rate=10)
    await shop.buy()

    answers = await asyncio.gather(*(shop.purchase(customer=one) for one in shop.customers[1:]))

    statuses = Counter(answer.status_code for answer in answers)
    assert statuses[201] >= 12, statuses
    assert statuses[201] + statuses[503] == 40, statuses
    assert "THROTTLED" not in await outcomes(shop)


async def test_metafields_wait_while_customers_purchase(service: Service) -> None:
    shop = await open_shop(service, customers=1, restore_rate=10)
    await shop.use_up_shopify(calls=13)

    assert (await shop.purchase()).status_code == 201
    await shop.wait_for_delivery("klaviyo", "sent")
    assert (await shop.deliveries())["metafields"] == "pending"

    await service.let_time_pass(timedelta(seconds=20))
    await shop.wait_for_delivery("metafields", "sent")


async def test_a_shop_without_throttle_figures_has_no_limit(service: Service) -> None:
    shop = await open_shop(service, customers=1)
    body: Json = {"data": {"metafieldsSet": {"userErrors": []}}}
    await service.add_fault("shopify", kind="status", status=200, operation="metafieldsSet", body=body)
    node = {"id": "gid://shopify/DiscountCodeNode/1"}
    body = {"data": {"discountCodeBasicCreate": {"codeDiscountNode": node, "userErrors": []}}}
    await service.add_fault("shopify", kind="status", status=200, operation="discountCodeBasicCreate", body=body)

    await shop.buy()

    assert await budget_of(shop) is None


async def test_shopifys_figures_raise_the_budget(service: Service) -> None:
    """It is too low after another program has stopped, or if Shopify calculates lower costs."""
    shop = await open_shop(service, customers=1)
    async with service.store() as session:
        half = ShopifyBudget(maximum=2000, restore_rate=100, full_in=timedelta(seconds=10))
        await store_figures(session, (await shop.row()).id, half)

    await shop.buy()

    budget = await budget_of(shop)
    assert budget is not None
    assert budget.available > 1700


async def test_shopifys_figures_lower_the_budget(service: Service) -> None:
    shop = await open_shop(service, customers=1, restore_rate=5)

    await shop.buy()

    budget = await budget_of(shop)
    assert budget is not None
    assert (budget.maximum, budget.restore_rate) == (100, 5)
    assert 75 <= budget.available < 100
