"""The refund, on the real Temporal server with time that skips: it is made once, whatever fails or ends on the way."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update

from db.tables import Customer, Delivery, Refund
from domain.refunds import refund_id
from tests.service import Service, Shop, a_customer, a_lot, a_shop, until
from tests.workflows.conftest import SECRETS, readable
from tests.workflows.test_reconciliation import reconcile
from tests.workflows.test_redeem_reward import CHANNELS
from workflows.progress import CUSTOMER_ID, REDEMPTION_STAGE, REWARD_ID, SHOP_DOMAIN


@pytest.fixture
async def shop(service: Service) -> Shop:
    return await service.open_shop(a_shop(a_customer(a_lot(500))))


@pytest.fixture
async def redemption(service: Service, shop: Shop) -> str:
    """Bought, and announced everywhere."""
    redemption = (await shop.purchase()).json()["data"]["id"]
    await service.end_of(redemption)
    return redemption


async def is_all_taken_back(shop: Shop) -> None:
    """The points are back, the code is dead, everybody was told once, and the books are right."""
    service = shop.service
    assert await shop.lots() == [500]
    assert await shop.discounts("live") == []
    [redemption] = await shop.redemptions()
    assert (redemption.status, redemption.is_refunded) == ("expired", True)
    assert await shop.deliveries("reward_refunded") == dict.fromkeys(CHANNELS, "sent")
    for vendor in ("klaviyo", "omnisend", "postscript"):
        # A round of the reconciler sees to what other tests have left, too.
        told = [event for event in (await service.vendor(vendor))["events"] if redemption.id in str(event)]
        assert len(told) == len(["redeemed", "refunded"])
    assert await service.audit() == []


@pytest.mark.recorded
async def test_a_refund_takes_the_code_back_and_tells_everybody(service: Service, shop: Shop, redemption: str) -> None:
    assert (await shop.refund(redemption)).status_code == 200

    assert await service.end_of_refund(redemption) == "COMPLETED"
    await is_all_taken_back(shop)
    [metafield] = (await service.vendor("shopify"))["metafields"]
    assert '"points_balance": 500' in metafield["value"]
    event = (await service.vendor("klaviyo"))["events"][-1]["data"]["attributes"]
    assert event["metric"]["data"]["attributes"]["name"] == "Reward Refunded"
    assert (event["properties"]["Points Refunded"], event["properties"]["points_balance"]) == (500, 500)


@pytest.mark.recorded
async def test_a_used_code_ends_the_refund_and_nobody_is_told(service: Service, shop: Shop, redemption: str) -> None:
    [discount] = await shop.discounts()
    await shop.use(discount["code"])

    assert (await shop.refund(redemption)).status_code == 422

    assert await service.end_of_refund(redemption) == "COMPLETED"
    assert await shop.lots() == [0]
    assert await shop.deliveries("reward_refunded") == {}


async def test_the_history_of_a_refund_names_nobody_and_no_reason(
    service: Service, shop: Shop, redemption: str
) -> None:
    [discount] = await shop.discounts()
    await service.fault("shopify", operation="discountCodeDelete", kind="status", status=401)

    await shop.refund(redemption, "Jane Doe rang")
    await service.end_of_refund(redemption)

    text = readable(await service.refund_of(redemption).fetch_history())
    assert shop.customers[0] in text
    assert SECRETS.search(discount["code"]), "what is looked for"
    assert SECRETS.findall(text) == []
    assert "rang" not in text


OPERATIONS = ("discountCodeDeactivate", "discountCodeDelete", "codeDiscountNodeByCode")
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "execute_then_drop"},
    {"kind": "drop"},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 401},
    {"kind": "throttled", "retry_after": 1},
)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_what_shopify_fails_is_tried_until_it_is_done(
    service: Service, shop: Shop, redemption: str, fault: dict[str, Any]
) -> None:
    for operation in OPERATIONS:
        await service.fault("shopify", operation=operation, **fault, times=1)

    answer = await shop.refund(redemption)

    assert (answer.status_code, answer.json()["meta"]) == (200, {"code_removed": True})
    assert await service.end_of_refund(redemption) == "COMPLETED"
    await is_all_taken_back(shop)


async def test_a_cancellation_does_not_stop_a_refund(service: Service, shop: Shop, redemption: str) -> None:
    await service.fault("shopify", operation="discountCodeDelete", kind="latency", seconds=1)
    refund = asyncio.ensure_future(shop.refund(redemption))
    await until(lambda: began(service, redemption))

    await service.refund_of(redemption).cancel()

    assert (await refund).status_code == 200
    assert await service.end_of_refund(redemption) == "COMPLETED"
    await is_all_taken_back(shop)


async def began(service: Service, redemption: str) -> bool:
    """Whether the wish is in the database, and a run at work."""
    runs = service.temporal.list_workflows(f"WorkflowId = '{refund_id(redemption)}'")
    return [run async for run in runs] != []


async def later(service: Service, redemption: str) -> None:
    """Long after the refund was asked for, and its news written."""
    then = {"created_at": func.now() - timedelta(minutes=5)}
    async with service.store.begin() as session:
        await session.execute(update(Refund).where(Refund.redemption_id == redemption).values(then))
        await session.execute(update(Delivery).where(Delivery.redemption_id == redemption).values(then))


@pytest.mark.parametrize(
    ("vendor", "operation"),
    [
        ("shopify", "discountCodeDeactivate"),
        ("shopify", "discountCodeDelete"),
        ("shopify", "codeDiscountNodeByCode"),
        ("klaviyo", "events"),
        ("shopify", "metafieldsSet"),
    ],
)
async def test_a_refund_terminated_at_any_call_is_taken_up_again(
    service: Service, shop: Shop, redemption: str, vendor: str, operation: str
) -> None:
    before = (await service.vendor(vendor))["requests"]
    await service.fault(vendor, operation=operation, kind="down")
    refund = asyncio.ensure_future(shop.refund(redemption))
    await until(lambda: is_struck(service, vendor, before))

    await is_abandoned(service, redemption, refund)
    await service.heal(vendor)
    await is_settled(service, redemption)

    await is_all_taken_back(shop)


async def is_abandoned(service: Service, redemption: str, refund: "asyncio.Future[httpx.Response]") -> None:
    """The caller goes away, and the run is terminated."""
    refund.cancel()
    await service.refund_of(redemption).terminate(reason="an operator's mistake")


async def is_settled(service: Service, redemption: str) -> None:
    """The reconciler comes by."""
    await later(service, redemption)
    await reconcile(service)
    assert await service.end_of_refund(redemption) == "COMPLETED"


async def is_struck(service: Service, vendor: str, before: int) -> bool:
    calls = (await service.vendor(vendor))["calls"][before:]
    return any(call["fault"] for call in calls)


async def test_a_refund_terminated_while_it_gives_the_points_back_is_taken_up_again(
    service: Service, shop: Shop, redemption: str
) -> None:
    await service.fault("shopify", operation="discountCodeDelete", kind="latency", seconds=1)
    refund = asyncio.ensure_future(shop.refund(redemption))
    await until(lambda: began(service, redemption))
    async with service.store.begin() as session:
        await session.execute(select(Customer).where(Customer.id == shop.customers[0]).with_for_update())
        await until(lambda: is_at(service, redemption, "refund_points"))
        await is_abandoned(service, redemption, refund)
    # The step itself goes on to its end in the worker, and nobody hears of it.
    await until(lambda: shop.deliveries("reward_refunded"))
    await is_settled(service, redemption)

    await is_all_taken_back(shop)


async def is_at(service: Service, redemption: str, step: str) -> bool:
    described = await service.refund_of(redemption).describe()
    return step in {one.activity_id for one in described.raw_description.pending_activities}


async def test_a_terminated_refund_is_taken_up_again_by_whoever_asks(
    service: Service, shop: Shop, redemption: str
) -> None:
    await service.fault("shopify", kind="down")
    first = asyncio.ensure_future(shop.refund(redemption))
    await until(lambda: began(service, redemption))
    await service.refund_of(redemption).terminate(reason="an operator's mistake")
    await service.heal("shopify")

    second = await shop.refund(redemption)

    assert (second.status_code, second.content) == (200, (await first).content)
    assert await service.end_of_refund(redemption) == "COMPLETED"
    await is_all_taken_back(shop)


@pytest.mark.recorded
async def test_a_wish_that_the_engine_never_heard_of_comes_true(service: Service, shop: Shop, redemption: str) -> None:
    async with service.store.begin() as session:
        # As if the API had died right after it had kept the wish.
        caller = await service.caller(shop.full_key)
        session.add(Refund(redemption_id=redemption, shop_id=caller.id, actor="API key 1", channels=CHANNELS))

    await is_settled(service, redemption)

    await is_all_taken_back(shop)


@pytest.mark.recorded
async def test_a_refund_that_lives_or_is_through_is_left_alone(service: Service, shop: Shop, redemption: str) -> None:
    await service.fault("klaviyo", kind="status", status=401, times=1)
    assert (await shop.refund(redemption)).status_code == 200
    await until(lambda: needs_attention(service, redemption))
    await later(service, redemption)
    await reconcile(service)

    update_name, channels = "retry_deliveries", ["klaviyo"]
    await service.refund_of(redemption).execute_update(update_name, channels)  # pyright: ignore[reportUnknownMemberType]
    assert await service.end_of_refund(redemption) == "COMPLETED"
    await reconcile(service)

    runs = [run async for run in service.temporal.list_workflows(f"WorkflowId = '{refund_id(redemption)}'")]
    assert len(runs) == 1
    await is_all_taken_back(shop)


async def needs_attention(service: Service, redemption: str) -> bool:
    description = await service.refund_of(redemption).describe()
    return description.typed_search_attributes[REDEMPTION_STAGE] == "NeedsAttention"


async def test_a_refund_is_found_where_its_redemption_is(service: Service, shop: Shop, redemption: str) -> None:
    answer: httpx.Response = await shop.refund(redemption)
    assert answer.status_code == 200
    await service.end_of_refund(redemption)

    description = await service.refund_of(redemption).describe()

    found = description.typed_search_attributes
    assert (found[SHOP_DOMAIN], found[CUSTOMER_ID]) == (shop.domain, shop.customers[0])
    assert (found[REWARD_ID], found[REDEMPTION_STAGE]) == ("reward_abc", "Done")
    assert await description.static_summary() == "refund 500 points of £5 off your next order"
