"""Purchases with `Prefer: respond-async`: answered once the points are reserved, their codes at Shopify's pace."""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select, update
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from db.shopify_budgets import store_figures
from db.tables import Delivery, DiscountCode, IdempotencyKey
from domain.channels import Channel
from domain.deliveries import DeliveryStatus
from domain.discounts import CodeState
from domain.shopify_budget import CREATION_COST, ShopifyBudget
from services import purchases
from services.stuck import StuckFinder
from settings import Settings
from tests.builders import Json, a_customer, a_lot, a_reward, a_shop
from tests.faults import CREATE_CODE, VendorFault
from tests.receiver import Receiver, listening
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_for, wait_until

PREFER = "respond-async"
DEADLINE = 4
QUEUED_DEADLINE = 8
RATE = 40
"""Query cost that a slow Shopify restores per second: four codes."""


@pytest.fixture(scope="session")
def settings(settings: Settings) -> Settings:
    deadlines = {"purchase_deadline_seconds": DEADLINE, "async_purchase_deadline_seconds": QUEUED_DEADLINE}
    return settings.model_copy(update={**deadlines, "webhook_allow_private_targets": True})


@pytest.fixture
async def temporal(temporal: WorkflowEnvironment) -> WorkflowEnvironment:
    """The server, with a client whose workflows skip no time: the turns are of the database's clock."""
    address, converter = temporal.client.service_client.config.target_host, temporal.client.data_converter
    return WorkflowEnvironment.from_client(await Client.connect(address, data_converter=converter))


@pytest.fixture
async def service(service: Service) -> AsyncGenerator[Service]:
    yield service
    assert await service.audit() == []


@pytest.fixture
async def shop(service: Service) -> Shop:
    """A shop without marketing vendors. Its customer can purchase once."""
    return await service.open_shop(a_shop(a_customer(a_lot(500)), vendors=["shopify"]))


async def entry(shop: Shop, answer: httpx.Response) -> Json:
    """The attributes of the entry that the response names."""
    return (await shop.get(answer.headers["location"])).json()["data"]["attributes"]


async def wait_for_status(shop: Shop, answer: httpx.Response, status: str) -> Json:
    async def shown() -> str:
        return (await entry(shop, answer))["status"]

    await wait_for(shown, status)
    return await entry(shop, answer)


async def metafields(shop: Shop) -> Sequence[Delivery]:
    """The deliveries of the shop's metafields."""
    async with shop.service.store() as session:
        query = select(Delivery).where(Delivery.shop_id == (await shop.row()).id)
        return (await session.scalars(query.where(Delivery.channel == Channel.METAFIELDS))).all()


async def subscribe(shop: Shop, receiver: Receiver) -> None:
    body = {"url": receiver.url, "events": ["points.redeemed", "points.purchase_failed"]}
    assert (await shop.send("POST", "/v1/webhook-subscriptions", body)).status_code == 201


async def check_failed(shop: Shop, queued: httpx.Response, receiver: Receiver) -> None:
    """Check that the points are back, and that subscribers, entry and key say so."""
    assert (await wait_for_status(shop, queued, "failed"))["discount_code"] is None
    assert await shop.balance() == 500

    async def received() -> int:
        return len(receiver.received)

    await wait_for(received, 1)
    [content] = [one.content for one in receiver.received]
    assert content["event"] == "points.purchase_failed"
    entry_id = queued.json()["data"]["id"]
    assert content["data"] == {
        "shopify_customer_id": shop.customers[0],
        "email": f"jane.{shop.customers[0]}@shopper.io",
        "points_released": 500,
        "points_balance": 500,
        "reward_name": "£5 off your next order",
        "reward_id": "reward_abc",
        "reward_history_entry_id": entry_id,
    }
    repeated = [await shop.purchase(key="k", prefer=prefer) for prefer in (None, PREFER)]
    assert [one.status_code for one in repeated] == [503, 503]
    assert repeated[0].content == repeated[1].content
    assert repeated[1].headers["idempotency-replayed"] == "true"
    assert repeated[1].json()["errors"][0]["meta"] == {"retry": "new_key"}
    assert await shop.discounts("ACTIVE") == []
    assert await shop.service.wait_for_purchase(entry_id) != "RUNNING"

    async def code() -> CodeState:
        async with shop.service.store() as session:
            return (await session.scalars(select(DiscountCode.state))).one()

    await wait_for(code, CodeState.VOID)


async def test_a_queued_purchase_is_answered_before_its_code(shop: Shop) -> None:
    await shop.wait_at_shopify(2.5)

    queued = await shop.purchase(key="k", prefer="wait=1, Respond-Async; foo=bar")

    assert queued.status_code == 202, queued.text
    body = queued.json()
    assert queued.headers["location"] == f"/v1/reward-history/{body['data']['id']}"
    assert queued.headers["preference-applied"] == PREFER
    assert queued.headers["idempotency-key"] == "k"
    assert 1 <= int(queued.headers["retry-after"]) <= 3
    assert body["meta"] == {"queue_position": 1}
    attributes = body["data"]["attributes"]
    assert (attributes["status"], attributes["discount_code"], attributes["points_spent"]) == ("pending", None, 500)
    assert await shop.balance() == 0, "the points are held at once"
    for prefer in (None, PREFER):
        again = await shop.purchase(key="k", prefer=prefer)
        assert (again.status_code, again.json()["data"]["id"]) == (202, body["data"]["id"])
    finder = StuckFinder(
        store=shop.service.store,
        temporal=shop.service.temporal,
        task_queue=shop.service.settings.temporal_task_queue,
        deadline=timedelta(),
    )
    assert [one async for one in finder.find()] == [], "nothing is stuck"

    active = await wait_for_status(shop, queued, "active")
    purchased = await shop.purchase(key="k", prefer=PREFER)
    assert (purchased.status_code, purchased.json()["data"]["attributes"]) == (201, active)
    [discount] = await shop.discounts()
    assert active["discount_code"] == discount["code"]


async def test_a_code_without_a_turn_is_the_first_in_the_queue(shop: Shop) -> None:
    """So it is as long as the shop's rate limit is unknown."""
    await shop.wait_at_shopify(3)
    await shop.purchase(key="mine", prefer=PREFER)
    async with shop.service.store.begin() as session:
        await session.execute(update(DiscountCode).values(not_before=None))

    again = await shop.purchase(key="mine", prefer=PREFER)

    assert (again.status_code, again.json()["meta"]) == (202, {"queue_position": 1})


async def test_a_flash_sale_is_served_in_order_at_shopifys_pace(service: Service) -> None:
    cap, buyers = 16, 20
    limited = a_reward(max_redemptions=cap)
    members = [a_customer(a_lot(500)) for _ in range(buyers)]
    shop = await service.open_shop(a_shop(*members, rewards=[limited], vendors=["shopify"]))
    other = await service.open_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(6)), vendors=["shopify"]))
    path, rate = f"/_sandbox/shopify/shops/{shop.domain}", {"restore_rate": RATE}
    (await service.vendors.put(path, json=rate)).raise_for_status()
    # Shopify's bucket is empty, and the budget says so: every code waits for its turn.
    await shop.use_up_shopify(calls=20 * RATE // CREATION_COST)
    async with service.store() as session:
        empty = ShopifyBudget(maximum=20 * RATE, restore_rate=RATE, full_in=timedelta(seconds=20))
        await store_figures(session, (await shop.row()).id, empty)

    answers = [await shop.purchase(customer=one, prefer=PREFER) for one in shop.customers]
    beside = [await other.purchase(customer=one) for one in other.customers]

    # 201: the code was there before the answer, as the purchases were slower than Shopify.
    assert {one.status_code for one in answers[:cap]} <= {201, 202}
    assert [one.status_code for one in answers[cap:]] == [422] * (buyers - cap)
    assert [one.status_code for one in beside] == [201] * len(beside)
    for one in answers[:cap]:
        if one.status_code == 202:
            await wait_for_status(shop, one, "active")
    async with service.store() as session:
        turns = {row.redemption_id: row.not_before for row in await session.scalars(select(DiscountCode))}
    rows = {row.id: row for row in await shop.redemptions()}
    arrived = [rows[one.json()["data"]["id"]] for one in answers[:cap]]
    # If purchases are slower than Shopify, a turn lies before its purchase.
    served = [max(turns[row.id] or row.created_at, row.created_at) for row in arrived]
    assert served == sorted(served), "first come, first served"
    possible = [max(earlier, row.created_at) for earlier, row in zip(served, arrived[1:], strict=False)]
    pace = [turn - earliest for turn, earliest in zip(served[1:], possible, strict=True)]
    assert max(pace) <= timedelta(seconds=10 / RATE + 0.5), "all that Shopify grants is used"
    assert all(row.captured_at and row.captured_at >= turn for row, turn in zip(arrived, served, strict=True))
    assert "THROTTLED" not in {call["outcome"] for call in (await service.vendor("shopify"))["calls"]}


async def test_metafields_that_have_waited_are_not_all_retried_together(service: Service) -> None:
    """Each of them would be retried as often as there are others, which disturbs every other shop."""
    buyers = 20
    shop = await service.open_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(buyers)), vendors=["shopify"]))
    await shop.use_up_shopify(calls=120)

    answers = [await shop.purchase(customer=one) for one in shop.customers]

    assert {one.status_code for one in answers} == {201}

    async def sent() -> int:
        return len([one for one in await metafields(shop) if one.status is DeliveryStatus.SENT])

    await wait_for(sent, buyers)
    attempts = sum(one.attempts for one in await metafields(shop))
    assert buyers < attempts < 4 * buyers


async def test_a_synchronous_purchase_does_not_wait_behind_the_queue(shop: Shop) -> None:
    await shop.wait_at_shopify(DEADLINE + 3)

    refused = await shop.purchase()

    assert refused.status_code == 503
    assert DEADLINE <= int(refused.headers["retry-after"]) <= DEADLINE + 4
    assert await shop.balance() == 500
    assert (await shop.purchase(prefer=PREFER)).status_code == 202


async def test_no_turn_before_the_deadline_is_said_at_once(shop: Shop) -> None:
    await shop.wait_at_shopify(QUEUED_DEADLINE + 60)

    refused = await shop.purchase(prefer=PREFER)

    assert refused.status_code == 503
    assert QUEUED_DEADLINE <= int(refused.headers["retry-after"]) <= QUEUED_DEADLINE + 61
    assert await shop.balance() == 500


async def test_a_worker_that_comes_back_reserves_nothing(idle: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client was answered long before the deadline of the code that nothing was purchased."""
    monkeypatch.setattr(purchases, "GRACE", timedelta())
    shop = await idle.open_shop(a_shop(a_customer(a_lot(500)), vendors=["shopify"]))
    assert (await shop.purchase(key="k", prefer=PREFER)).status_code == 503
    async with idle.store() as session:
        [redemption] = await session.scalars(select(IdempotencyKey.redemption_id))

    async with idle.worker():
        assert await idle.wait_for_purchase(redemption) == "FAILED"

    assert await shop.balance() == 500


async def test_a_refusal_is_said_at_once(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(499))))

    answers = [await shop.purchase(key="k", prefer=PREFER) for _ in range(2)]

    assert [one.status_code for one in answers] == [422, 422]
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize("fault", [VendorFault.UNAUTHORIZED, VendorFault.DOWN])
async def test_points_are_back_when_shopify_gives_no_code(shop: Shop, fault: VendorFault) -> None:
    await shop.wait_at_shopify(1)
    await shop.service.inject("shopify", fault, operation=CREATE_CODE, times=None)
    async with listening() as receiver:
        await subscribe(shop, receiver)
        queued = await shop.purchase(key="k", prefer=PREFER)
        assert queued.status_code == 202, queued.text
        await check_failed(shop, queued, receiver)


@pytest.mark.recorded
async def test_an_operator_can_cancel_a_queued_purchase(shop: Shop) -> None:
    await shop.wait_at_shopify(QUEUED_DEADLINE - 2)
    async with listening() as receiver:
        await subscribe(shop, receiver)
        queued = await shop.purchase(key="k", prefer=PREFER)
        await shop.service.purchase_workflow(queued.json()["data"]["id"]).cancel()
        await check_failed(shop, queued, receiver)


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_a_lost_workflow_of_a_queued_purchase_is_recovered(shop: Shop, lost: str) -> None:
    """Lost while it waits for its turn, or after its points were released and before that was announced."""
    service = shop.service
    await shop.wait_at_shopify(QUEUED_DEADLINE - 2)
    async with listening() as receiver:
        await subscribe(shop, receiver)
        if lost == "after":
            receiver.script = [500] * 3
        queued = await shop.purchase(key="k", prefer=PREFER)
        workflow = service.purchase_workflow(queued.json()["data"]["id"])
        if lost == "after":
            await workflow.cancel()
            await wait_until(lambda: received(receiver))
            receiver.received.clear()
        await workflow.terminate()
        assert (await entry(shop, queued))["status"] == ("pending" if lost == "before" else "failed")

        await service.let_time_pass(timedelta(minutes=5))
        await service.reconcile()

        if lost == "after":
            await wait_until(lambda: delivered(shop))
            del receiver.received[:-1]
        await check_failed(shop, queued, receiver)


async def received(receiver: Receiver) -> bool:
    return len(receiver.received) > 0


async def delivered(shop: Shop) -> bool:
    return (await shop.deliveries("purchase_failed"))["webhooks"] == "sent"
