"""Current details of running workflows, at every stage. They contain no secret."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from domain.ids import purchase_workflow_id
from tests.builders import a_customer, a_lot, a_shop
from tests.faults import CREATE_CODE, VendorFault
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_until
from tests.workflows.replay import SECRETS
from tests.workflows.situations import send_update


@pytest.fixture
async def shop(shop: Shop) -> AsyncGenerator[Shop]:
    yield shop
    assert SECRETS.findall(await details(shop)) == []


async def details(shop: Shop) -> str:
    """Current details of the shop's only purchase. Empty before it begins."""
    rows = await shop.redemptions()
    return await shop.service.current_details(purchase_workflow_id(rows[0].id, 1)) if rows else ""


async def details_with(shop: Shop, text: str) -> str:
    """Wait until the current details contain the text; returns all of them."""

    async def is_shown() -> bool:
        return text in await details(shop)

    await wait_until(is_shown)
    return await details(shop)


async def inject(service: Service, vendor: str, fault: VendorFault, **settings: Any) -> None:
    await service.add_fault(vendor, **fault.script(**settings))


async def test_a_purchase_shows_what_it_waits_for(service: Service, shop: Shop) -> None:
    await inject(service, "shopify", VendorFault.SLOW, operation=CREATE_CODE, seconds=0.5)
    await inject(service, "klaviyo", VendorFault.SLOW, seconds=0.5)

    purchase = asyncio.ensure_future(shop.purchase())

    assert "Generate discount code and capture: **in progress**" in await details_with(shop, "Purchase in progress")
    assert "**Waiting for** `klaviyo`" in await details_with(shop, "Deliveries are in progress")
    entry = (await purchase).json()["data"]
    assert await service.wait_for_purchase(entry["id"]) == "COMPLETED"
    text = await details(shop)
    assert "- Deliver to `postscript`: **done**" in text
    assert "The workflow is finished." in text


async def test_a_refused_purchase_shows_the_reason(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(200))))

    assert (await shop.purchase()).status_code == 422

    [workflow_id] = [one.id async for one in service.temporal.list_workflows(f"ShopDomain = '{shop.domain}'")]
    assert "points available 200, points cost 500" in await service.current_details(workflow_id)


async def test_a_compensated_purchase_shows_the_vendors_error(service: Service, shop: Shop) -> None:
    await inject(service, "shopify", VendorFault.UNAUTHORIZED, body={"errors": "Invalid API key"}, times=None)

    assert (await shop.purchase()).status_code == 503

    text = await details_with(shop, "The points are released and the code cannot be used")
    assert "Invalid API key" in text


async def test_a_cancelled_purchase_shows_the_cancellation(service: Service, shop: Shop) -> None:
    await inject(service, "shopify", VendorFault.SLOW, seconds=0.5)
    await inject(service, "shopify", VendorFault.SERVER_ERROR)
    purchase = asyncio.ensure_future(shop.purchase())
    await details_with(shop, "**in progress**")
    [redemption] = await shop.redemptions()

    await service.purchase_workflow(redemption.id).cancel()
    await purchase

    assert "**Reason:** `the workflow was cancelled`" in await details_with(shop, "Not purchased")


async def test_points_are_released_before_the_code_is_blocked(service: Service, shop: Shop) -> None:
    await inject(service, "shopify", VendorFault.LOST, operation=CREATE_CODE)
    await inject(service, "shopify", VendorFault.SERVER_ERROR, times=None)

    assert (await shop.purchase()).status_code == 503

    text = await details_with(shop, "The discount code is being blocked at Shopify")
    assert "HTTP 500" in text
    assert "- Reserve points: **compensated**" in text
    assert "Generate discount code and capture: **compensating**" in text
    await service.clear_faults("shopify")
    await details_with(shop, "the code cannot be used")


async def test_a_rejection_is_shown_during_other_deliveries(service: Service, shop: Shop) -> None:
    await inject(service, "klaviyo", VendorFault.UNAUTHORIZED)
    await inject(service, "omnisend", VendorFault.SLOW, seconds=1)
    redemption = (await shop.purchase()).json()["data"]["id"]

    text = await details_with(shop, "`klaviyo` rejected the event")

    assert "- Deliver to `omnisend`: **in progress**" in text
    assert "HTTP 401" in text
    assert f"`pointsaga retry {redemption} --channel klaviyo`" in text
    workflow = service.purchase_workflow(redemption)
    await send_update(workflow, "skip_deliveries", ["klaviyo"], "the shop has left Klaviyo")
    skipped = "- Deliver to `klaviyo`: **skipped**, `the shop has left Klaviyo`"
    assert skipped in await details_with(shop, "The workflow is finished.")
