"""Purchases on a real Temporal server with skipped time: points, codes and deliveries are correct."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from db import tables
from db.tables import Customer
from tests.builders import a_customer, a_lot, a_reward, a_shop
from tests.faults import CREATE_CODE, OperatorAction, VendorFault, end_workflow
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_for_end, wait_until
from tests.workflows.replay import SECRETS, readable
from tests.workflows.situations import CHANNELS, details_of, wait_for_details, wait_for_request, workflows_of
from tests.workflows.webhook_bodies import a_profile


@pytest.mark.recorded
async def test_a_purchase_draws_the_oldest_usable_lot_first(service: Service) -> None:
    expired = a_lot(500, days_old=90, expires_in=timedelta(seconds=-1))
    shop = await service.open_shop(a_shop(a_customer(a_lot(900, days_old=5), a_lot(300, days_old=50), expired)))
    assert await shop.balance() == 1200

    answer = await shop.purchase()

    assert answer.status_code == 201, answer.text
    entry = answer.json()["data"]
    assert await shop.lots() == [500, 0, 700]
    assert await shop.balance() == 700
    assert [one["code"] for one in await shop.discounts("live")] == [entry["attributes"]["discount_code"]]
    assert await service.wait_for_purchase(entry["id"]) == "COMPLETED"
    assert await shop.deliveries() == dict.fromkeys(CHANNELS, "sent")
    assert await service.audit() == []


async def test_a_purchase_shows_its_steps(service: Service, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.SLOW, operation=CREATE_CODE, seconds=1)
    async with service.store.begin() as session:
        await session.execute(select(Customer).with_for_update())
        purchase = asyncio.ensure_future(shop.purchase())
        await wait_until(lambda: workflows_of(shop))
        [workflow] = await workflows_of(shop)
        assert "- Reserve points: **in progress**" in await wait_for_details(workflow, "**Purchase in progress.**")
    await wait_for_details(workflow, "- Generate discount code and capture: **in progress**")

    assert (await purchase).status_code == 201


async def test_the_history_is_short_and_without_secrets(service: Service, shop: Shop) -> None:
    entry = (await shop.purchase()).json()["data"]
    await service.wait_for_purchase(entry["id"])

    history = await service.purchase_workflow(entry["id"]).fetch_history()

    assert len(history.events) <= 45
    text = await readable(history, service.temporal.data_converter)
    assert shop.customers[0] in text
    assert SECRETS.search(entry["attributes"]["discount_code"]), "the fixture finds codes"
    assert SECRETS.findall(text) == []


async def test_a_failure_shows_the_vendors_error(service: Service, shop: Shop) -> None:
    body = {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}
    await service.inject("shopify", VendorFault.UNAUTHORIZED, body=body, times=None)

    await shop.purchase()

    [redemption] = await shop.redemptions()
    await service.wait_for_purchase(redemption.id)
    workflow = service.purchase_workflow(redemption.id)
    history = await readable(await workflow.fetch_history(), service.temporal.data_converter)
    assert "Invalid API key" in history
    assert "Invalid API key" in await details_of(workflow)


@pytest.mark.parametrize(
    ("customer", "reward", "status", "code"),
    [
        ({"excluded": True}, {}, 403, "customer_excluded"),
        ({}, {"vip_tier": "gold"}, 403, "vip_tier_required"),
        ({}, {"is_active": False}, 404, "reward_not_found"),
        ({}, {"points_cost": 501}, 422, "insufficient_points"),
    ],
)
async def test_a_refusal_changes_nothing_and_fails_no_workflow(
    service: Service, customer: dict[str, Any], reward: dict[str, Any], status: int, code: str
) -> None:
    tiers = [{"id": "gold", "name": "Gold", "points_required": 1000}]
    buyer = a_customer(a_lot(500), **customer)
    shop = await service.open_shop(a_shop(buyer, rewards=[a_reward(**reward)], vip_tiers=tiers))

    answer = await shop.purchase()

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code)
    assert await shop.balance() == 500
    assert await shop.discounts() == []
    assert await shop.redemptions() == []
    for workflow in await workflows_of(shop):
        assert await wait_for_end(workflow) == "COMPLETED"


@pytest.mark.recorded
async def test_a_refusal_states_the_missing_points(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(200))))

    error = (await shop.purchase()).json()["errors"][0]

    assert error["title"] == "Insufficient Points"
    assert error["detail"] == "Customer has 200 points but this reward costs 500"
    await wait_until(lambda: workflows_of(shop))
    [workflow] = await workflows_of(shop)
    assert "points available 200, points cost 500" in await details_of(workflow)


async def test_a_capped_reward_is_not_oversold(service: Service) -> None:
    customers = [a_customer(a_lot(500)) for _ in range(6)]
    shop = await service.open_shop(a_shop(*customers, rewards=[a_reward(max_redemptions=2)]))

    answers = await asyncio.gather(*(shop.purchase(customer=customer) for customer in shop.customers))

    assert sorted(answer.status_code for answer in answers) == [201, 201, 422, 422, 422, 422]
    refusals = {answer.json()["errors"][0]["code"] for answer in answers if answer.status_code == 422}
    assert refusals == {"reward_sold_out"}
    assert len(await shop.discounts("live")) == 2


async def test_parallel_purchases_do_not_overdraw(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(300), a_lot(250))))

    answers = await asyncio.gather(*(shop.purchase() for _ in range(5)))

    assert sorted(answer.status_code for answer in answers) == [201, 422, 422, 422, 422]
    assert await shop.balance() == 50
    assert len(await shop.discounts("live")) == 1


WITHOUT_EXECUTION = (VendorFault.DROPPED, VendorFault.SERVER_ERROR, VendorFault.TOO_MANY_REQUESTS)
TEMPORARY = [
    *(fault.script() for fault in (VendorFault.LOST, VendorFault.GARBLED, *WITHOUT_EXECUTION)),
    VendorFault.THROTTLED.script(retry_after=1),
    VendorFault.DOWN.script(times=2),
    {"kind": "status", "status": 200, "body": "<html>not JSON</html>"},
]


@pytest.mark.parametrize("fault", TEMPORARY, ids=str)
async def test_a_purchase_survives_a_temporary_fault(service: Service, shop: Shop, fault: dict[str, Any]) -> None:
    await service.add_fault("shopify", operation=CREATE_CODE, **fault)

    answer = await shop.purchase()

    assert answer.status_code == 201, answer.text
    code = answer.json()["data"]["attributes"]["discount_code"]
    assert [one["code"] for one in await shop.discounts()] == [code]
    assert await shop.balance() == 0
    assert await service.audit() == []


PERMANENT = [
    *(one.script(times=None) for one in (VendorFault.DOWN, VendorFault.DROPPED, VendorFault.SERVER_ERROR)),
    VendorFault.UNAUTHORIZED.script(body={"errors": "[API] Invalid API key or access token"}, times=None),
    VendorFault.THROTTLED.script(retry_after=120, times=None),
]


@pytest.mark.parametrize("fault", PERMANENT, ids=str)
async def test_points_are_released_before_the_answer(service: Service, fault: dict[str, Any]) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(300, days_old=20), a_lot(400))))
    await service.add_fault("shopify", **fault)

    answer = await shop.purchase()

    assert answer.status_code == 503, answer.text
    assert answer.json()["errors"][0]["code"] == "shopify_unavailable"
    assert answer.headers["retry-after"]
    assert await shop.lots() == [300, 400]
    await service.clear_faults("shopify")
    [redemption] = await shop.redemptions()
    assert redemption.status == "failed"
    assert await service.wait_for_purchase(redemption.id) == "FAILED"
    assert await shop.discounts("live") == []
    assert await shop.deliveries() == {}
    assert await service.audit() == []


async def test_a_new_attempt_gets_a_new_code(service: Service, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.DOWN)
    assert (await shop.purchase(key="again")).status_code == 503
    await service.clear_faults("shopify")

    answer = await shop.purchase(key="again")

    assert answer.status_code == 201
    [redemption] = await shop.redemptions()
    assert (redemption.status, redemption.attempt) == ("active", 2)
    assert await shop.balance() == 0
    assert await service.audit() == []


async def test_points_earned_during_a_purchase_are_kept(service: Service) -> None:
    customer = a_customer(a_lot(500, lot_id="old"))
    file = a_shop(customer)
    shop = await service.open_shop(file)
    await service.inject("shopify", VendorFault.SLOW, seconds=0.5)
    await service.inject("shopify", VendorFault.FORBIDDEN, times=None)

    purchase = asyncio.ensure_future(shop.purchase())
    await wait_until(shop.redemptions)
    await service.import_shop({**file, "customers": [{**customer, "lots": [*customer["lots"], a_lot(70)]}]})

    assert (await purchase).status_code == 503
    assert await shop.balance() == 570


async def purchase_and_cancel(shop: Shop) -> tuple[int, str]:
    """Cancel a purchase during its request to Shopify. Returns HTTP status and redemption id."""
    purchase = asyncio.ensure_future(shop.purchase())
    await wait_for_request(shop.service, "shopify")
    [redemption] = await shop.redemptions()
    await end_workflow(shop.service.purchase_workflow(redemption.id), OperatorAction.CANCEL)
    return (await purchase).status_code, redemption.id


@pytest.mark.recorded
async def test_a_cancelled_purchase_is_compensated(service: Service, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.SLOW, seconds=1)
    await service.inject("shopify", VendorFault.SERVER_ERROR)

    status, redemption = await purchase_and_cancel(shop)

    assert status == 503
    assert await service.wait_for_purchase(redemption) == "CANCELED"
    details = await details_of(service.purchase_workflow(redemption))
    assert "**Reason:** `the workflow was cancelled`" in details
    assert await shop.balance() == 500
    assert await shop.discounts("live") == []


@pytest.mark.recorded
async def test_a_cancellation_during_the_capture_is_too_late(service: Service, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.SLOW, operation=CREATE_CODE, seconds=1)

    status, redemption = await purchase_and_cancel(shop)

    assert status == 201
    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    assert await shop.balance() == 0
    assert len(await shop.discounts("live")) == 1
    assert await shop.deliveries() == dict.fromkeys(CHANNELS, "sent")


async def test_a_cancellation_does_not_stop_deliveries(service: Service, shop: Shop) -> None:
    await service.inject("klaviyo", VendorFault.DOWN)
    workflow = service.purchase_workflow((await shop.purchase()).json()["data"]["id"])
    await wait_for_details(workflow, "**Waiting for** `klaviyo`")

    await workflow.cancel()
    await service.clear_faults("klaviyo")

    assert await wait_for_end(workflow) == "COMPLETED"
    assert "The workflow is finished." in await details_of(workflow)
    assert await shop.deliveries() == dict.fromkeys(CHANNELS, "sent")


async def test_a_cancellation_does_not_stop_the_fence(service: Service, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.LOST, operation=CREATE_CODE)
    await service.inject("shopify", VendorFault.SERVER_ERROR, times=None)
    assert (await shop.purchase()).status_code == 503
    [redemption] = await shop.redemptions()
    workflow = service.purchase_workflow(redemption.id)
    details = await wait_for_details(workflow, "The discount code is being blocked at Shopify")
    assert "- Reserve points: **compensated**" in details
    assert "Generate discount code and capture: **compensating**" in details

    await workflow.cancel()
    await service.clear_faults("shopify")

    assert await service.wait_for_purchase(redemption.id) == "FAILED"
    assert [one["status"] for one in await shop.discounts() if one["status"] != "deleted"] == ["expired"]
    assert await shop.balance() == 500


async def test_a_shop_without_shopify_sells_nothing(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500)), vendors=["klaviyo"]))

    answer = await shop.purchase()

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, "shopify_unavailable")
    [redemption] = await shop.redemptions()
    assert await service.wait_for_purchase(redemption.id) == "FAILED"
    assert await shop.balance() == 500


async def test_a_vendor_without_credentials_gets_no_delivery(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500)), vendors=["shopify", "klaviyo", "omnisend"]))

    await shop.buy()

    assert await shop.deliveries() == dict.fromkeys(["klaviyo", "metafields", "omnisend"], "sent")
    assert await service.requests("postscript") == 0


async def test_a_customer_without_address_gets_no_message(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500), email=None, phone=None)))

    redemption = await shop.buy()

    unsent = {"omnisend": "skipped", "postscript": "skipped"}
    assert await shop.deliveries() == {"klaviyo": "sent", "metafields": "sent", **unsent}
    details = await details_of(service.purchase_workflow(redemption))
    assert details.count("the customer has neither an e-mail address nor a phone number") == len(unsent)


async def test_a_retry_sends_what_was_true_at_the_purchase(service: Service, shop: Shop) -> None:
    await service.inject("klaviyo", VendorFault.DOWN)
    bodies = record_bodies(service, service.settings.klaviyo_url)
    redemption = (await shop.purchase()).json()["data"]["id"]
    await wait_for_request(service, "klaviyo")

    changed = {"email": f"new.{shop.customers[0]}@shopper.io", "phone": "+447700900999"}
    await shop.process_webhook("customers/update", a_profile(shop, changed))
    await change_currency(shop, "JPY")
    await service.clear_faults("klaviyo")

    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    assert len(bodies) > 1
    assert len(set(bodies)) == 1
    assert f"jane.{shop.customers[0]}@shopper.io".encode() in bodies[0]


def record_bodies(service: Service, vendor_url: str) -> list[bytes]:
    """Bodies of the worker's requests to a vendor, from now on."""
    bodies: list[bytes] = []

    async def record(request: httpx.Request) -> None:
        if str(request.url).startswith(vendor_url):
            bodies.append(request.content)

    service.worker_http.event_hooks["request"].append(record)
    return bodies


async def change_currency(shop: Shop, currency: str) -> None:
    async with shop.service.store.begin() as session:
        await session.execute(update(tables.Shop).where(tables.Shop.domain == shop.domain).values(currency=currency))
