"""Vendors are down or lose responses. Outages last in skipped time: `--outage-hours 24` makes them a day."""

import asyncio
from datetime import timedelta

import pytest

from tests.builders import a_customer, a_lot, a_shop
from tests.faults import CREATE_CODE, FIND_CODE, VendorFault
from tests.service import Service
from tests.shop import Shop
from tests.workflows.conftest import Outage
from tests.workflows.situations import CHANNELS


async def test_a_long_outage_leaves_no_charge_and_no_code(service: Service, outage: Outage) -> None:
    shop = await service.open_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(3))))
    # Two codes are created, and the response is lost. The third is not created.
    await service.inject("shopify", VendorFault.LOST, operation=CREATE_CODE, times=2)
    await service.inject("shopify", VendorFault.SERVER_ERROR, times=None)

    answers = await asyncio.gather(*(shop.purchase(customer=customer) for customer in shop.customers))

    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert [await shop.balance(customer) for customer in shop.customers] == [500, 500, 500]
    rows = await shop.redemptions()
    assert {row.status for row in rows} == {"failed"}
    assert len(await shop.discounts("live")) == 2
    await outage(service.purchase_workflow(rows[0].id))
    await service.clear_faults("shopify")

    assert {await service.wait_for_purchase(row.id) for row in rows} == {"FAILED"}
    assert await shop.discounts("live") == []
    assert await service.audit() == []


async def test_a_retry_waits_as_long_as_shopify_requests(service: Service, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.THROTTLED, retry_after=9, times=1)

    redemption = await shop.buy()

    workflow = await service.purchase_workflow(redemption).describe()
    assert workflow.close_time is not None
    assert workflow.close_time - workflow.start_time >= timedelta(seconds=9)


async def test_deliveries_survive_an_outage(service: Service, shop: Shop, outage: Outage) -> None:
    operations = {"klaviyo": "events", "omnisend": "events", "postscript": "events", "shopify": "metafieldsSet"}
    for vendor, operation in operations.items():
        await service.inject(vendor, VendorFault.DOWN, operation=operation)

    answer = await shop.purchase()

    assert answer.status_code == 201
    redemption = answer.json()["data"]["id"]
    assert set((await shop.deliveries()).values()) == {"pending"}
    await outage(service.purchase_workflow(redemption))
    for vendor in operations:
        await service.clear_faults(vendor)
    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    assert await shop.deliveries() == dict.fromkeys(CHANNELS, "sent")
    for vendor in ("klaviyo", "omnisend", "postscript"):
        assert len((await service.vendor(vendor))["events"]) == 1
    assert len((await service.vendor("shopify"))["metafields"]) == 1
    workflow = await service.purchase_workflow(redemption).describe()
    assert workflow.close_time is not None
    assert workflow.close_time - workflow.start_time > await service.requests("klaviyo") * timedelta(seconds=30)


async def test_a_lost_response_is_retried_where_duplicates_are_dropped(service: Service, shop: Shop) -> None:
    await service.inject("klaviyo", VendorFault.LOST)

    await shop.buy()

    assert (await shop.deliveries())["klaviyo"] == "sent"
    klaviyo = await service.vendor("klaviyo")
    assert (len(klaviyo["events"]), klaviyo["duplicates"]) == (1, 1)


@pytest.mark.recorded
async def test_a_text_message_is_not_repeated(service: Service, shop: Shop) -> None:
    await service.inject("postscript", VendorFault.LOST)

    await shop.buy()

    assert (await shop.deliveries())["postscript"] == "unknown"
    assert len((await service.vendor("postscript"))["events"]) == 1


@pytest.mark.recorded
async def test_a_late_code_cannot_be_used(service: Service, shop: Shop) -> None:
    # The response is lost, the code does not exist when it is read, and Shopify rejects the retry.
    await service.inject("shopify", VendorFault.LATE, operation=CREATE_CODE, seconds=3)
    await service.inject("shopify", VendorFault.FORBIDDEN, operation=FIND_CODE, times=1)

    answer = await shop.purchase()

    assert answer.status_code == 503
    assert await shop.balance() == 500
    [redemption] = await shop.redemptions()
    assert await service.wait_for_purchase(redemption.id) == "FAILED"
    await asyncio.sleep(3.2)  # the late execution is rejected by now
    assert await shop.discounts("live") == []
    assert [one["tags"] for one in await shop.discounts("expired")] != []
