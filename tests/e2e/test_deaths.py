"""A process dies, or is asked to end, while a customer waits: there is a code, or there are the points, never both."""

import asyncio
import signal

import httpx
import pytest

from tests.e2e.deployment import CREATE, Deployment
from tests.service import Shop, a_customer, a_lot, a_shop, until

POINTS, COST = 700, 500


@pytest.fixture
async def shop(deployment: Deployment) -> Shop:
    """A shop with a customer who can buy once."""
    return await deployment.open_shop(a_shop(a_customer(a_lot(POINTS))))


async def test_when_the_worker_dies_at_shopifys_door_there_is_a_code_or_there_are_the_points(
    deployment: Deployment, shop: Shop
) -> None:
    _, api = await deployment.start_api(deadline_seconds=5)
    worker = await deployment.start_worker()
    # Shopify goes on without us, and makes the code when nobody may have it any more.
    await deployment.fault("shopify", "latency", operation=CREATE, seconds=7)
    purchase = asyncio.ensure_future(shop.purchase(api=api))
    await deployment.shopify_is_asked()

    await worker.end(signal.SIGKILL)
    await deployment.start_worker()

    answer = await purchase
    await until(lambda: deployment.asked_for_codes(shop))
    await a_code_or_the_points(deployment, shop, answer)


async def test_when_the_worker_dies_between_two_tries_another_one_completes_the_purchase(
    deployment: Deployment, shop: Shop
) -> None:
    worker = await deployment.start_worker()
    await deployment.fault("shopify", "throttled", operation=CREATE, retry_after=3)
    purchase = asyncio.ensure_future(shop.purchase())
    await until(shop.redemptions)
    [pending] = await shop.redemptions()
    await until(lambda: deployment.waits_for_another_try(pending.id))

    await worker.end(signal.SIGKILL)
    await deployment.start_worker()

    answer = await purchase
    assert answer.status_code == 201, answer.text
    await a_code_or_the_points(deployment, shop, answer)


async def test_when_no_worker_comes_back_in_time_the_customer_is_never_charged(
    deployment: Deployment, shop: Shop
) -> None:
    _, api = await deployment.start_api(deadline_seconds=4)
    worker = await deployment.start_worker()
    await deployment.fault("shopify", "latency", operation=CREATE, seconds=2)
    purchase = asyncio.ensure_future(shop.purchase(api=api))
    await deployment.shopify_is_asked()
    assert await shop.balance() == POINTS - COST

    await worker.end(signal.SIGKILL)
    answer = await purchase
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, "engine_unavailable")
    assert len(await shop.discounts("live")) == 1, "Shopify went on without us"

    await deployment.start_worker()
    await a_code_or_the_points(deployment, shop, answer)


async def test_a_purchase_that_no_worker_ever_saw_in_time_is_not_made_later(deployment: Deployment, shop: Shop) -> None:
    _, api = await deployment.start_api(deadline_seconds=1)

    answer = await shop.purchase(api=api)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, "engine_unavailable")

    await deployment.start_worker()
    await a_code_or_the_points(deployment, shop, answer)
    assert await shop.discounts() == []


@pytest.mark.parametrize("shopify_takes", [1, 4], ids=["made_while_it_is_away", "made_when_it_is_back"])
async def test_when_temporal_dies_while_a_customer_waits_there_is_a_code_or_there_are_the_points(
    deployment: Deployment, shop: Shop, shopify_takes: float
) -> None:
    await deployment.start_worker()
    await deployment.fault("shopify", "latency", operation=CREATE, seconds=shopify_takes)
    purchase = asyncio.ensure_future(shop.purchase())
    await deployment.shopify_is_asked()

    deployment.kill("temporal")

    answer = await purchase
    await deployment.engine_is_back()
    await a_code_or_the_points(deployment, shop, answer)


async def test_when_the_database_restarts_while_a_customer_waits_there_is_a_code_or_there_are_the_points(
    deployment: Deployment, shop: Shop
) -> None:
    await deployment.start_worker()
    await deployment.fault("shopify", "latency", operation=CREATE, seconds=1)
    purchase = asyncio.ensure_future(shop.purchase())
    await deployment.shopify_is_asked()

    deployment.kill("postgres")

    answer = await purchase
    await a_code_or_the_points(deployment, shop, answer)


async def test_a_customer_who_goes_away_has_bought_once_and_hears_of_it_by_the_same_key(
    deployment: Deployment, shop: Shop
) -> None:
    await deployment.start_worker()
    await deployment.fault("shopify", "latency", operation=CREATE, seconds=2)
    purchase = asyncio.ensure_future(shop.purchase(key="impatient"))
    await deployment.shopify_is_asked()

    purchase.cancel()
    await asyncio.wait([purchase])

    answer = await shop.purchase(key="impatient")
    assert answer.status_code == 201, answer.text
    await a_code_or_the_points(deployment, shop, answer)


async def test_when_the_api_dies_the_same_key_at_another_one_gets_the_one_purchase(
    deployment: Deployment, shop: Shop
) -> None:
    await deployment.start_worker()
    doomed, api = await deployment.start_api(deadline_seconds=10)
    await deployment.fault("shopify", "latency", operation=CREATE, seconds=2)
    purchase = asyncio.ensure_future(shop.purchase(key="once", api=api))
    await deployment.shopify_is_asked()

    await doomed.end(signal.SIGKILL)
    with pytest.raises(httpx.TransportError):
        await purchase

    answers = await asyncio.gather(*(shop.purchase(key="once", api=api) for api in deployment.apis))
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    await a_code_or_the_points(deployment, shop, answers[0])


async def test_an_api_that_is_asked_to_end_answers_the_customer_who_waits(deployment: Deployment, shop: Shop) -> None:
    await deployment.start_worker()
    leaving, api = await deployment.start_api(deadline_seconds=10)
    await deployment.fault("shopify", "latency", operation=CREATE, seconds=2)
    purchase = asyncio.ensure_future(shop.purchase(api=api))
    await deployment.shopify_is_asked()

    await leaving.end(signal.SIGTERM)

    answer = await purchase
    assert answer.status_code == 201, answer.text
    await a_code_or_the_points(deployment, shop, answer)


async def test_a_worker_that_is_asked_to_end_finishes_the_code_it_is_making(deployment: Deployment, shop: Shop) -> None:
    worker = await deployment.start_worker()
    await deployment.fault("shopify", "latency", operation=CREATE, seconds=2)
    purchase = asyncio.ensure_future(shop.purchase())
    await deployment.shopify_is_asked()

    assert await worker.end(signal.SIGTERM) == 0
    assert [row.status for row in await shop.redemptions()] == ["active"]
    await deployment.start_worker()

    answer = await purchase
    assert answer.status_code == 201, answer.text
    assert len(await deployment.asked_for_codes(shop)) == 1
    await a_code_or_the_points(deployment, shop, answer)


async def test_when_temporal_stays_away_nobody_who_heard_no_is_charged(deployment: Deployment, shop: Shop) -> None:
    _, api = await deployment.start_api(deadline_seconds=15)
    await deployment.start_worker()
    # Longer than Temporal's client tries again (10 s), and within the deadline: the worker needs no engine to capture.
    await deployment.fault("shopify", "latency", operation=CREATE, seconds=11)
    purchase = asyncio.ensure_future(shop.purchase(api=api))
    await deployment.shopify_is_asked()

    await deployment.keep_temporal_away(purchase)

    answer = await purchase
    await deployment.engine_is_back()
    await a_code_or_the_points(deployment, shop, answer)


async def a_code_or_the_points(deployment: Deployment, shop: Shop, answer: httpx.Response) -> None:
    """Once all is settled: a purchase made once, or none at all, as the caller was told."""
    await deployment.settled(shop)
    [redemption] = await shop.redemptions()
    codes = [one["code"] for one in await shop.discounts("live")]
    outcome = (answer.status_code, redemption.status, await shop.balance(), len(codes))
    assert outcome in {(201, "active", POINTS - COST, 1), (503, "failed", POINTS, 0)}
    if answer.status_code == 201:
        assert codes == [answer.json()["data"]["attributes"]["discount_code"]]
    assert await deployment.audit() == []
