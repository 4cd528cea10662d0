"""Orphaned redemptions are recovered: compensated before the capture, delivered after it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import WorkflowEnvironment

from db.orders import lock_order
from db.tables import IdempotencyKey, Order
from domain.ids import settlement_workflow_id
from settings import Settings
from tests.builders import a_customer, a_lot, a_shop
from tests.faults import CREATE_CODE, OperatorAction, VendorFault, end_workflow
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_for, wait_until
from tests.workflows.situations import CHANNELS, Workflow, buy_rejected, details_of, exists, wait_for_request

ORPHANED_AFTER = timedelta(minutes=5)


def recovery_workflow(service: Service, redemption: str) -> Workflow:
    return service.temporal.get_workflow_handle(settlement_workflow_id(redemption, 1))


async def is_recovered(service: Service, redemption: str) -> bool:
    """Whether a reconciliation starts a recovery workflow."""
    await service.reconcile()
    return await exists(recovery_workflow(service, redemption))


async def buy_terminated(shop: Shop, vendor: str, operation: str, fault: VendorFault) -> str:
    """A purchase that was terminated during a request to this vendor, and the reconciliation that follows."""
    service = shop.service
    await service.inject(vendor, fault, operation=operation, times=1)
    # Time is skipped: without this, retries could succeed before the termination.
    await service.inject(vendor, VendorFault.DROPPED, times=None)
    purchase = asyncio.ensure_future(shop.purchase())
    await wait_for_request(service, vendor)
    [redemption] = await shop.redemptions()
    await end_workflow(service.purchase_workflow(redemption.id), OperatorAction.TERMINATE)
    await service.let_time_pass(ORPHANED_AFTER)
    await service.reconcile()
    # Not earlier: an activity in progress could capture or deliver, and leave nothing to recover.
    await service.clear_faults(vendor)
    await purchase
    return redemption.id


@pytest.mark.recorded
async def test_an_orphan_before_the_capture_is_compensated(service: Service, shop: Shop) -> None:
    redemption = await buy_terminated(shop, "shopify", CREATE_CODE, VendorFault.LOST)

    assert await recovery_workflow(service, redemption).result() == "compensated"
    recovery = recovery_workflow(service, redemption)
    assert "the code cannot be used" in await details_of(recovery)
    reconciler = service.temporal.get_workflow_handle(f"reconcile-{service.settings.temporal_task_queue}")
    assert f"`{recovery.id}`" in await details_of(reconciler)
    assert await shop.balance() == 500
    assert await shop.discounts("live") == []
    assert await service.audit() == []


@pytest.mark.recorded
async def test_an_orphan_after_the_capture_is_delivered(service: Service, shop: Shop) -> None:
    redemption = await buy_terminated(shop, "klaviyo", "events", VendorFault.DOWN)

    assert await recovery_workflow(service, redemption).result() == "delivered"
    details = await details_of(recovery_workflow(service, redemption))
    assert details.startswith("**Purchased.**")
    assert "- Deliver to `klaviyo`: **done**" in details
    assert await shop.deliveries() == dict.fromkeys(CHANNELS, "sent")
    assert len(await shop.discounts("live")) == 1
    assert await shop.balance() == 0


@pytest.mark.parametrize("buy", [Shop.buy, buy_rejected], ids=["closed", "open"])
async def test_a_purchase_with_a_workflow_is_not_recovered(
    service: Service, shop: Shop, buy: Callable[[Shop], Awaitable[str]]
) -> None:
    redemption = await buy(shop)
    await service.let_time_pass(ORPHANED_AFTER)

    assert not await is_recovered(service, redemption)


async def test_open_workflows_do_not_hide_an_orphan(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.reconciliation.BATCH_SIZE", 2)
    shop = await service.open_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(4))))
    await service.inject("klaviyo", VendorFault.UNAUTHORIZED, times=None)
    ids = [(await shop.purchase(customer=one)).json()["data"]["id"] for one in shop.customers]
    await wait_for(lambda: service.requests("klaviyo"), len(ids))
    await service.let_time_pass(ORPHANED_AFTER)
    await end_workflow(service.purchase_workflow(ids[-1]), OperatorAction.TERMINATE)

    # Temporal's search can lag behind during the first reconciliation.
    await wait_until(lambda: is_recovered(service, ids[-1]))
    assert [await is_recovered(service, one) for one in ids] == [False, False, False, True]


async def test_idempotency_keys_are_kept_for_thirty_days(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(1500))))
    await shop.purchase(key="old")
    await service.let_time_pass(timedelta(days=31))
    await shop.purchase(key="new")

    await service.reconcile()

    assert "idempotency-replayed" not in (await shop.purchase(key="old")).headers
    assert (await shop.purchase(key="new")).headers["idempotency-replayed"] == "true"


@pytest.mark.usefixtures("_empty_database")
@pytest.mark.parametrize(
    ("changed", "left"),
    [
        ({"refusal_days": 1}, set[str]()),
        ({"idempotency_key_days": 60}, {"key"}),
        ({"idempotency_key_days": 60, "refusal_days": 60}, {"key", "refusal"}),
        ({"webhook_days": 60}, {"webhook"}),
        ({"unused_order_days": 60}, {"order"}),
    ],
)
async def test_a_deployment_chooses_how_long_rows_are_kept(
    settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment, changed: dict[str, int], left: set[str]
) -> None:
    settings = settings.model_copy(update=changed)
    async with Service.running(settings, engine, temporal.client) as service:
        shop = await service.open_shop(a_shop(a_customer(a_lot(10))))
        await shop.purchase(customer="nobody", key="mine")
        made = (await shop.purchase(customer="nobody")).headers["idempotency-key"]
        await shop.process_webhook("customers/delete", {"id": 1})
        async with service.store.begin() as session:
            await lock_order(session, (await shop.row()).id, "without code")
        await service.let_time_pass(timedelta(days=31))

        await service.reconcile()

        async with service.store() as session:
            orders = await session.scalars(select(Order.id))
        found = {
            "key": await kept(service, ["mine"]),
            "refusal": await kept(service, [made]),
            "webhook": await shop.webhooks(),
            "order": orders.all(),
        }
        assert {name for name, rows in found.items() if rows} == left


async def test_a_refusal_without_a_key_of_the_client_is_kept_for_a_day(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500))))
    bought = await shop.purchase()
    refused = [await shop.purchase(), await shop.purchase(customer="nobody"), await shop.purchase(key="mine")]
    keys = [answer.headers["idempotency-key"] for answer in (bought, *refused)]

    await service.let_time_pass(timedelta(hours=23))
    await service.reconcile()
    assert await kept(service, keys) == keys

    await service.let_time_pass(timedelta(hours=2))
    await service.reconcile()
    assert await kept(service, keys) == [keys[0], "mine"]


async def kept(service: Service, keys: Sequence[str]) -> list[str]:
    """Those of the keys that are stored."""
    async with service.store() as session:
        stored = set(await session.scalars(select(IdempotencyKey.key)))
    return [key for key in keys if key in stored]


async def test_old_rows_are_deleted_in_batches(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.pruning.BATCH_SIZE", 2)
    monkeypatch.setattr("activities.pruning.BATCHES_PER_RUN", 2)
    shop = await service.open_shop(a_shop(a_customer(a_lot(10))))
    keys = [str(number) for number in range(5)]
    for key in keys:
        await shop.purchase(customer="nobody", key=key)
        await shop.process_webhook("customers/delete", {"id": int(key) + 1})
    await service.let_time_pass(timedelta(days=31))

    await service.reconcile()
    assert (len(await kept(service, keys)), len(await shop.webhooks())) == (1, 1)

    await service.reconcile()
    assert (len(await kept(service, keys)), len(await shop.webhooks())) == (0, 0)
