"""A vendor, subscriber or webhook that hangs takes nothing that a purchase needs."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

import pytest
from sqlalchemy import func, select
from temporalio.api.enums.v1.workflow_pb2 import PENDING_ACTIVITY_STATE_STARTED
from temporalio.service import RPCError

import worker
from clients.marketing import CALL_SECONDS, LIMITS
from db.tables import Delivery, ShopifyWebhook
from db.webhooks import store_webhook
from services.receipts import workflows_of
from tests.builders import Json, a_customer, a_lot, a_shop
from tests.faults import VendorFault
from tests.service import Service
from tests.shop import Shop
from tests.waiting import locks_waited_for, wait_until

MARKETING = ("klaviyo", "omnisend", "postscript")
TOPIC = "customers/update"
BLOCKED = 35
"""More than the connections of a worker for background work, and of an API for webhooks, together."""


async def a_busy_shop(service: Service, customers: int) -> Shop:
    return await service.open_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(customers))))


async def purchases(shop: Shop, *, in_flight: int) -> list[int]:
    """Every customer purchases; returns the statuses."""
    turns = asyncio.Semaphore(in_flight)

    async def purchase(customer: str) -> int:
        async with turns:
            return (await shop.purchase(customer=customer)).status_code

    return await asyncio.gather(*(purchase(one) for one in shop.customers))


async def held(service: Service) -> Sequence[Delivery]:
    """The deliveries whose send is held."""
    query = select(Delivery).where(Delivery.last_error.contains("calls are in flight"), Delivery.status == "pending")
    async with service.store() as session:
        return (await session.scalars(query)).all()


async def test_hanging_vendors_take_nothing_from_purchases(service: Service) -> None:
    busy, quiet = await a_busy_shop(service, 24), await a_busy_shop(service, 4)
    for vendor in MARKETING:
        await service.inject(vendor, VendorFault.SLOW, seconds=CALL_SECONDS + 1, times=None)

    first, second = await asyncio.gather(purchases(busy, in_flight=8), purchases(quiet, in_flight=1))

    assert (set(first), set(second)) == ({201}, {201})
    await wait_until(lambda: held(service))
    for vendor in MARKETING:
        await service.clear_faults(vendor)
        assert await service.requests(vendor) <= LIMITS.in_flight
    for redemption in await busy.redemptions() + await quiet.redemptions():
        # Some have completed since the faults were cleared.
        with suppress(RPCError):
            await service.purchase_workflow(redemption.id).terminate(reason="the vendors have shown what they do")


async def test_a_held_delivery_says_why(service: Service) -> None:
    shop = await a_busy_shop(service, LIMITS.in_flight + 1)
    await service.inject("klaviyo", VendorFault.SLOW, seconds=CALL_SECONDS - 1, times=None)
    await purchases(shop, in_flight=8)

    await wait_until(lambda: held(service))

    [delivery, *_] = await held(service)
    assert (delivery.channel, delivery.last_error) == ("klaviyo", f"held, as {LIMITS.in_flight} calls are in flight")
    assert (delivery.attempts, delivery.attempted_at) == (0, None)

    async def reason_in_temporal() -> list[str]:
        [purchase] = await workflows_of(service.temporal, delivery.redemption_id, 1, ui=None)
        return [one.last_error for one in purchase.waiting if one.step == "klaviyo" and one.last_error]

    await wait_until(reason_in_temporal)
    assert await reason_in_temporal() == [f"Klaviyo: held, as {LIMITS.in_flight} calls are in flight"]
    await service.clear_faults("klaviyo")
    assert await service.wait_for_purchase(delivery.redemption_id) == "COMPLETED"


async def test_a_backlog_of_deliveries_of_one_shop_does_not_delay_another(
    idle: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "BACKGROUND_SLOTS", 10)
    busy, quiet = await a_busy_shop(idle, 80), await a_busy_shop(idle, 1)
    pools = worker.Pools(sessions=idle.store, http=idle.worker_http)
    of_purchases, of_the_rest = worker.build_workers(idle.temporal, idle.settings, pools, pools)
    async with of_purchases:
        assert set(await purchases(busy, in_flight=16)) == {201}
        assert await purchases(quiet, in_flight=1) == [201]
        async with of_the_rest:
            await quiet.wait_for_delivery("klaviyo", "sent")
            assert await unsent(idle, busy) > 20
            # A delivery that ends with the worker would be in progress during the audit.
            await wait_until(lambda: all_sent(idle, busy))


async def all_sent(service: Service, shop: Shop) -> bool:
    return await unsent(service, shop) == 0


async def unsent(service: Service, shop: Shop) -> int:
    """How many of the shop's purchases are not announced at Klaviyo."""
    mine = (Delivery.shop_id == (await shop.row()).id, Delivery.channel == "klaviyo", Delivery.status == "pending")
    async with service.store() as session:
        return (await session.execute(select(func.count()).select_from(Delivery).where(*mine))).scalar_one()


async def test_stuck_background_work_leaves_connections_to_purchases(idle: Service) -> None:
    shop = await a_busy_shop(idle, 3)
    for _ in range(BLOCKED):
        assert (await shop.send_webhook(TOPIC, profile(shop))).is_success

    async with idle.store.begin() as session:
        await session.execute(select(ShopifyWebhook.id).with_for_update())
        async with idle.worker():
            await wait_until(lambda: is_all_started(idle))
            assert await purchases(shop, in_flight=1) == [201, 201, 201]
            await session.rollback()
            await wait_until(shop.has_processed_webhooks)


async def test_stuck_webhooks_leave_connections_to_purchases(service: Service) -> None:
    shop = await a_busy_shop(service, 3)
    shop_id, webhook, body = (await shop.row()).id, str(uuid4()), profile(shop)

    async with service.store.begin() as session:
        # Requests with this id wait for the end of the transaction.
        await store_webhook(session, shop_id=shop_id, webhook_id=webhook, topic=TOPIC, payload=b"", triggered_at=None)
        repeats = [asyncio.create_task(shop.send_webhook(TOPIC, body, webhook_id=webhook)) for _ in range(BLOCKED)]
        await wait_until(lambda: has_waiting(service, 5))
        assert await purchases(shop, in_flight=1) == [201, 201, 201]
        await session.rollback()

    assert {(await one).status_code for one in repeats} <= {200, 503}


def profile(shop: Shop) -> Json:
    """The body of a webhook about the first customer."""
    return {"id": int(shop.customers[0]), "updated_at": "2026-06-01T12:00:00Z"}


async def is_all_started(service: Service) -> bool:
    """Whether the activity of each webhook runs."""
    queue = service.settings.temporal_task_queue
    query = f"TaskQueue = '{queue}' AND WorkflowType = 'ProcessWebhook'"
    handles = [service.temporal.get_workflow_handle(one.id) async for one in service.temporal.list_workflows(query)]
    pending = [(await one.describe()).raw_description.pending_activities for one in handles]
    started = [one for activities in pending for one in activities if one.state == PENDING_ACTIVITY_STATE_STARTED]
    return len(started) == BLOCKED


async def has_waiting(service: Service, locks: int) -> bool:
    return await locks_waited_for(service.store) >= locks
