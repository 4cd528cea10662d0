"""A process dies or is stopped while a customer waits: there is a code, or the points are back, never both."""

import asyncio
import signal

import httpx
import pytest

from tests.builders import a_customer, a_lot, a_shop
from tests.e2e.deployment import COST, Deployment
from tests.evidence import Answer, Purchase
from tests.faults import CREATE_CODE, VendorFault
from tests.shop import Shop
from tests.waiting import wait_until

POINTS = 700
KEY = "once"


@pytest.fixture
async def shop(deployment: Deployment) -> Shop:
    """A shop with a customer who can buy once."""
    return await deployment.open_shop(a_shop(a_customer(a_lot(POINTS))))


async def slow_purchase(
    deployment: Deployment, shop: Shop, seconds: float, *, api: httpx.AsyncClient | None = None
) -> "asyncio.Future[httpx.Response]":
    """A purchase while Shopify takes this long to create the code. Returns once Shopify has the request."""
    await deployment.inject("shopify", VendorFault.SLOW, operation=CREATE_CODE, seconds=seconds)
    purchase = asyncio.ensure_future(shop.purchase(key=KEY, api=api))
    await deployment.code_is_requested()
    return purchase


async def assert_code_or_points(deployment: Deployment, shop: Shop, response: httpx.Response) -> None:
    """Once everything has ended: one purchase or none, as the caller was answered."""
    await deployment.ended(shop)
    purchase = Purchase(key=KEY, customer=shop.customers[0], reward="reward_abc", answers=[Answer.of(response)])
    evidence = await deployment.check(shop, award=POINTS, purchases=[purchase])
    [redemption] = evidence.ledger.redemptions
    codes = len(await shop.discounts("live"))
    outcome = (response.status_code, redemption.status, await shop.balance(), codes)
    assert outcome in {(201, "active", POINTS - COST, 1), (503, "failed", POINTS, 0)}


def assert_unavailable(response: httpx.Response) -> None:
    assert (response.status_code, response.json()["errors"][0]["code"]) == (503, "engine_unavailable")


async def test_worker_killed_while_shopify_creates_the_code(deployment: Deployment, shop: Shop) -> None:
    _, api = await deployment.start_api(deadline_seconds=5)
    worker = await deployment.start_worker()
    # The code is created after the deadline and must not be given out.
    purchase = await slow_purchase(deployment, shop, 7, api=api)

    await worker.end(signal.SIGKILL)
    await deployment.start_worker()

    response = await purchase
    await wait_until(lambda: deployment.code_requests(shop))
    await assert_code_or_points(deployment, shop, response)


async def test_worker_killed_before_a_retry(deployment: Deployment, shop: Shop) -> None:
    worker = await deployment.start_worker()
    await deployment.inject("shopify", VendorFault.THROTTLED, operation=CREATE_CODE, retry_after=3)
    purchase = asyncio.ensure_future(shop.purchase(key=KEY))
    await wait_until(shop.redemptions)
    [pending] = await shop.redemptions()
    await wait_until(lambda: deployment.waits_for_retry(pending.id))

    await worker.end(signal.SIGKILL)
    await deployment.start_worker()

    response = await purchase
    assert response.status_code == 201, response.text
    await assert_code_or_points(deployment, shop, response)


async def test_worker_that_stays_away_charges_no_customer(deployment: Deployment, shop: Shop) -> None:
    _, api = await deployment.start_api(deadline_seconds=4)
    worker = await deployment.start_worker()
    purchase = await slow_purchase(deployment, shop, 2, api=api)
    assert await shop.balance() == POINTS - COST

    await worker.end(signal.SIGKILL)
    response = await purchase
    assert_unavailable(response)
    assert len(await shop.discounts("live")) == 1, "Shopify has created the code"

    await deployment.start_worker()
    await assert_code_or_points(deployment, shop, response)


async def test_overdue_purchase_is_not_made_later(deployment: Deployment, shop: Shop) -> None:
    _, api = await deployment.start_api(deadline_seconds=1)

    response = await shop.purchase(key=KEY, api=api)
    assert_unavailable(response)

    await deployment.start_worker()
    await assert_code_or_points(deployment, shop, response)
    assert await shop.discounts() == []


@pytest.mark.parametrize("seconds", [1, 4], ids=["code_created_while_down", "code_created_after_restart"])
async def test_temporal_killed_while_a_customer_waits(deployment: Deployment, shop: Shop, seconds: float) -> None:
    await deployment.start_worker()
    purchase = await slow_purchase(deployment, shop, seconds)

    deployment.kill("temporal")

    response = await purchase
    await deployment.temporal_is_back()
    await assert_code_or_points(deployment, shop, response)


async def test_database_killed_while_a_customer_waits(deployment: Deployment, shop: Shop) -> None:
    await deployment.start_worker()
    purchase = await slow_purchase(deployment, shop, 1)

    deployment.kill("postgres")

    await assert_code_or_points(deployment, shop, await purchase)


async def test_disconnected_customer_gets_the_purchase_by_key(deployment: Deployment, shop: Shop) -> None:
    await deployment.start_worker()
    purchase = await slow_purchase(deployment, shop, 2)

    purchase.cancel()
    await asyncio.wait([purchase])

    response = await shop.purchase(key=KEY)
    assert response.status_code == 201, response.text
    await assert_code_or_points(deployment, shop, response)


async def test_api_killed_while_a_customer_waits(deployment: Deployment, shop: Shop) -> None:
    await deployment.start_worker()
    doomed, api = await deployment.start_api(deadline_seconds=10)
    purchase = await slow_purchase(deployment, shop, 2, api=api)

    await doomed.end(signal.SIGKILL)
    with pytest.raises(httpx.TransportError):
        await purchase

    responses = await asyncio.gather(*(shop.purchase(key=KEY, api=api) for api in deployment.apis))
    assert [response.status_code for response in responses] == [201, 201]
    assert responses[0].content == responses[1].content
    await assert_code_or_points(deployment, shop, responses[0])


async def test_stopped_api_answers_open_requests(deployment: Deployment, shop: Shop) -> None:
    await deployment.start_worker()
    leaving, api = await deployment.start_api(deadline_seconds=10)
    purchase = await slow_purchase(deployment, shop, 2, api=api)

    await leaving.end(signal.SIGTERM)

    response = await purchase
    assert response.status_code == 201, response.text
    await assert_code_or_points(deployment, shop, response)


async def test_stopped_worker_finishes_its_activity(deployment: Deployment, shop: Shop) -> None:
    worker = await deployment.start_worker()
    purchase = await slow_purchase(deployment, shop, 2)

    assert await worker.end(signal.SIGTERM) == 0
    assert [row.status for row in await shop.redemptions()] == ["active"]
    await deployment.start_worker()

    response = await purchase
    assert response.status_code == 201, response.text
    assert len(await deployment.code_requests(shop)) == 1
    await assert_code_or_points(deployment, shop, response)


async def test_long_temporal_outage_charges_no_rejected_customer(deployment: Deployment, shop: Shop) -> None:
    _, api = await deployment.start_api(deadline_seconds=15)
    await deployment.start_worker()
    # Longer than Temporal's client retries (10 s), within the deadline: the worker captures without Temporal.
    purchase = await slow_purchase(deployment, shop, 11, api=api)

    await deployment.keep_temporal_down(purchase)

    response = await purchase
    await deployment.temporal_is_back()
    await assert_code_or_points(deployment, shop, response)
