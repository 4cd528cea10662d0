"""Refunds on a real Temporal server with skipped time: made once, whatever fails or ends early."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select

from db.tables import Customer, Refund
from tests.faults import DEACTIVATE_CODE, DELETE_CODE, FIND_CODE, OperatorAction, VendorFault, end_workflow
from tests.service import Service
from tests.shop import Shop
from tests.waiting import stage_of, wait_for_end, wait_for_stage, wait_until
from tests.workflows.replay import readable
from tests.workflows.situations import CHANNELS, Workflow, exists, send_update
from workflows.progress import CUSTOMER_ID, REDEMPTION_STAGE, REWARD_ID, SHOP_DOMAIN

Request = asyncio.Future[httpx.Response]


@pytest.fixture
async def redemption(shop: Shop) -> str:
    return await shop.buy()


@pytest.fixture
def workflow(service: Service, redemption: str) -> Workflow:
    """The refund, which has not begun."""
    return service.refund_workflow(redemption)


async def assert_refunded(shop: Shop) -> None:
    """The points are returned, the code is removed, and every event was delivered once."""
    service = shop.service
    [redemption] = await shop.redemptions()
    assert await service.wait_for_refund(redemption.id) == "COMPLETED"
    [redemption] = await shop.redemptions()
    assert await shop.lots() == [500]
    assert await shop.discounts("live") == []
    assert (redemption.status, redemption.is_refunded) == ("expired", True)
    assert await shop.deliveries("reward_refunded") == dict.fromkeys(CHANNELS, "sent")
    for vendor in ("klaviyo", "omnisend", "postscript"):
        assert len((await service.vendor(vendor))["events"]) == len(["redeemed", "refunded"])
    assert await service.audit() == []


@pytest.mark.recorded
async def test_a_refund_removes_the_code_and_is_delivered(service: Service, shop: Shop, redemption: str) -> None:
    assert (await shop.refund(redemption)).status_code == 200

    await assert_refunded(shop)
    [metafield] = (await service.vendor("shopify"))["metafields"]
    assert '"points_balance": 500' in metafield["value"]
    event = (await service.vendor("klaviyo"))["events"][-1]["data"]["attributes"]
    assert event["metric"]["data"]["attributes"]["name"] == "Reward Refunded"
    assert (event["properties"]["Points Refunded"], event["properties"]["points_balance"]) == (500, 500)


@pytest.mark.recorded
async def test_a_used_code_is_not_refunded(service: Service, shop: Shop, redemption: str) -> None:
    [discount] = await shop.discounts()
    await shop.use_code(discount["code"])

    assert (await shop.refund(redemption)).status_code == 422

    assert await service.wait_for_refund(redemption) == "COMPLETED"
    assert await shop.lots() == [0]
    assert await shop.deliveries("reward_refunded") == {}


async def test_the_history_contains_no_reason(shop: Shop, redemption: str, workflow: Workflow) -> None:
    await shop.service.inject("shopify", VendorFault.UNAUTHORIZED, operation=DELETE_CODE)

    await shop.refund(redemption, "Jane Doe rang")
    await wait_for_end(workflow)

    text = await readable(await workflow.fetch_history(), shop.service.temporal.data_converter)
    assert shop.customers[0] in text
    assert "rang" not in text


FAULTS = (
    VendorFault.LOST,
    VendorFault.DROPPED,
    VendorFault.SERVER_ERROR,
    VendorFault.UNAUTHORIZED,
    VendorFault.THROTTLED,
)


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_shopify_request_is_retried(
    service: Service, shop: Shop, redemption: str, fault: VendorFault
) -> None:
    for operation in (DEACTIVATE_CODE, DELETE_CODE, FIND_CODE):
        await service.inject("shopify", fault, operation=operation)

    answer = await shop.refund(redemption)

    assert (answer.status_code, answer.json()["meta"]) == (200, {"code_removed": True})
    await assert_refunded(shop)


@pytest.fixture
async def slow_refund(service: Service, shop: Shop, redemption: str) -> Request:
    """A refund whose deletion of the code takes a while."""
    await service.inject("shopify", VendorFault.SLOW, operation=DELETE_CODE, seconds=1)
    refund = asyncio.ensure_future(shop.refund(redemption))
    await wait_until(lambda: exists(service.refund_workflow(redemption)))
    return refund


async def test_a_cancellation_does_not_stop_a_refund(slow_refund: Request, shop: Shop, workflow: Workflow) -> None:
    await end_workflow(workflow, OperatorAction.CANCEL)

    assert (await slow_refund).status_code == 200
    await assert_refunded(shop)


async def recover(service: Service) -> None:
    """Let the reconciler find the orphaned refund."""
    await service.let_time_pass(timedelta(minutes=5))
    await service.reconcile()


async def terminate(refund: Request, workflow: Workflow) -> None:
    """End both the request and the workflow."""
    refund.cancel()
    await end_workflow(workflow, OperatorAction.TERMINATE)


@pytest.mark.parametrize(
    ("vendor", "operation"),
    [
        ("shopify", DEACTIVATE_CODE),
        ("shopify", DELETE_CODE),
        ("shopify", FIND_CODE),
        ("klaviyo", "events"),
        ("shopify", "metafieldsSet"),
    ],
)
async def test_a_refund_terminated_at_any_request_is_recovered(
    service: Service, shop: Shop, redemption: str, workflow: Workflow, vendor: str, operation: str
) -> None:
    before = await service.requests(vendor)
    await service.inject(vendor, VendorFault.DOWN, operation=operation)
    refund = asyncio.ensure_future(shop.refund(redemption))
    await wait_until(lambda: has_failed(service, vendor, before))

    await terminate(refund, workflow)
    await recover(service)
    # Not earlier: an activity in progress could deliver, and leave nothing to recover.
    await service.clear_faults(vendor)

    await assert_refunded(shop)


async def has_failed(service: Service, vendor: str, before: int) -> bool:
    calls = (await service.vendor(vendor))["calls"][before:]
    return any(call["fault"] for call in calls)


async def test_a_refund_terminated_while_it_returns_points_is_recovered(
    service: Service, shop: Shop, slow_refund: Request, workflow: Workflow
) -> None:
    async with service.store.begin() as session:
        await session.execute(select(Customer).where(Customer.id == shop.customers[0]).with_for_update())
        await wait_until(lambda: is_running(workflow, "refund_points"))
        await terminate(slow_refund, workflow)
    # The activity continues in the worker.
    await wait_until(lambda: shop.deliveries("reward_refunded"))
    await recover(service)

    await assert_refunded(shop)


async def is_running(workflow: Workflow, activity: str) -> bool:
    description = (await workflow.describe()).raw_description
    return activity in {one.activity_id for one in description.pending_activities}


async def test_the_next_request_recovers_a_terminated_refund(
    service: Service, shop: Shop, redemption: str, workflow: Workflow
) -> None:
    await service.inject("shopify", VendorFault.DOWN)
    first = asyncio.ensure_future(shop.refund(redemption))
    await wait_until(lambda: exists(workflow))
    await end_workflow(workflow, OperatorAction.TERMINATE)
    await service.clear_faults("shopify")

    second = await shop.refund(redemption)

    assert (second.status_code, second.content) == (200, (await first).content)
    await assert_refunded(shop)


@pytest.mark.recorded
async def test_a_refund_without_workflow_is_recovered(service: Service, shop: Shop, redemption: str) -> None:
    async with service.store.begin() as session:
        # As if the API had stopped after it stored the refund request.
        shop_id = (await shop.row()).id
        session.add(Refund(redemption_id=redemption, shop_id=shop_id, actor="API key 1", channels=CHANNELS))

    await recover(service)

    await assert_refunded(shop)


@pytest.mark.recorded
async def test_an_open_or_finished_refund_is_not_recovered(
    service: Service, shop: Shop, redemption: str, workflow: Workflow
) -> None:
    await service.inject("klaviyo", VendorFault.UNAUTHORIZED)
    assert (await shop.refund(redemption)).status_code == 200
    await wait_for_stage(workflow, "NeedsAttention")
    run_id = (await workflow.describe()).run_id
    await recover(service)

    await send_update(workflow, "retry_deliveries", ["klaviyo"])
    await assert_refunded(shop)
    await service.reconcile()

    assert (await workflow.describe()).run_id == run_id


async def test_a_refund_can_be_searched(shop: Shop, slow_refund: Request, workflow: Workflow) -> None:
    assert await stage_of(workflow) == "Refunding"

    assert (await slow_refund).status_code == 200
    await wait_for_end(workflow)

    description = await workflow.describe()
    found = description.typed_search_attributes
    assert (found[SHOP_DOMAIN], found[CUSTOMER_ID]) == (shop.domain, shop.customers[0])
    assert (found[REWARD_ID], found[REDEMPTION_STAGE]) == ("reward_abc", "Refunding")
    assert await description.static_summary() == "refund 500 points of £5 off your next order"
