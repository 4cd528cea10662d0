"""The page of a run in the Temporal UI, at every stage and every ending; nobody is named on it."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from domain.redemptions import workflow_id
from tests.service import Service, Shop, a_customer, a_lot, a_shop, until
from tests.workflows.conftest import SECRETS
from tests.workflows.test_attention import tell

CREATE = "discountCodeBasicCreate"


@pytest.fixture
async def shop(service: Service) -> AsyncGenerator[Shop]:
    """A shop, of which no run tells a secret."""
    shop = await service.open_shop(a_shop(a_customer(a_lot(500))))
    yield shop
    assert SECRETS.findall(await page_of_the(shop)) == []


async def page_of_the(shop: Shop) -> str:
    """What is told of the shop's only redemption."""
    [redemption] = await shop.redemptions()
    return await shop.service.page_of(workflow_id(redemption.id, 1))


async def until_told(shop: Shop, words: str) -> str:
    """Wait until the page says so."""

    async def is_told() -> bool:
        return bool(await shop.redemptions()) and words in await page_of_the(shop)

    await until(is_told)
    return await page_of_the(shop)


async def test_a_purchase_tells_each_step_and_what_it_waits_for(service: Service, shop: Shop) -> None:
    await service.fault("shopify", operation=CREATE, kind="latency", seconds=1)
    await service.fault("klaviyo", kind="latency", seconds=1)

    purchase = asyncio.ensure_future(shop.purchase())

    assert "spend the points: **under way**" in await until_told(shop, "A customer waits")
    assert "**Waits for** `klaviyo`" in await until_told(shop, "Now those who should know")
    entry = (await purchase).json()["data"]
    assert await service.end_of(entry["id"]) == "COMPLETED"
    assert "- Tell `postscript`: **done**" in (page := await page_of_the(shop))
    assert "this is the end" in page


async def test_a_refused_purchase_tells_what_the_customer_heard(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(200))))

    assert (await shop.purchase()).status_code == 422

    [run] = [run.id async for run in service.temporal.list_workflows(f"ShopDomain = '{shop.domain}'")]
    assert "points available 200, points cost 500" in await service.page_of(run)


async def test_a_compensated_purchase_tells_the_vendors_words(service: Service, shop: Shop) -> None:
    await service.fault("shopify", kind="status", status=401, body={"errors": "Invalid API key"}, times=None)

    assert (await shop.purchase()).status_code == 503

    assert "Invalid API key" in await until_told(shop, "the points are back, and no code can be used")


async def test_a_purchase_that_an_operator_cancelled_says_so(service: Service, shop: Shop) -> None:
    await service.fault("shopify", kind="latency", seconds=1, times=1)
    await service.fault("shopify", kind="status", status=500, times=1)
    purchase = asyncio.ensure_future(shop.purchase())
    await until_told(shop, "**under way**")
    [redemption] = await shop.redemptions()

    await service.run_of(redemption.id).cancel()
    await purchase

    assert "**Because:** `the run was cancelled`" in await until_told(shop, "No purchase")


async def test_while_the_fence_cannot_be_set_the_page_tells_that_the_points_are_back(
    service: Service, shop: Shop
) -> None:
    await service.fault("shopify", operation=CREATE, kind="execute_then_drop")
    await service.fault("shopify", kind="status", status=500, times=None)

    assert (await shop.purchase()).status_code == 503

    page = await until_told(shop, "it waits for Shopify")
    assert "- Reserve the points: **undone**" in page
    assert "spend the points: **being undone**" in page
    await service.heal("shopify")
    await until_told(shop, "no code can be used")


async def test_a_refused_delivery_needs_attention_while_another_vendor_is_still_being_told(
    service: Service, shop: Shop
) -> None:
    await service.fault("klaviyo", kind="status", status=401, times=1)
    await service.fault("omnisend", kind="latency", seconds=2, times=1)
    redemption = (await shop.purchase()).json()["data"]["id"]

    page = await until_told(shop, "`klaviyo` refused to be told")

    assert "- Tell `omnisend`: **under way**" in page
    assert "HTTP 401" in page
    assert f"`pointsaga retry {redemption} --channel klaviyo`" in page
    await tell(service, redemption, "skip_deliveries", ["klaviyo"], "the shop has left Klaviyo")
    assert "- Tell `klaviyo`: **skipped**, `the shop has left Klaviyo`" in await until_told(shop, "this is the end")
