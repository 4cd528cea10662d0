"""Redemptions whose run is gone are settled: compensated before the capture, delivered after it."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from db.tables import Delivery, IdempotencyKey, Redemption
from domain.redemptions import settlement_id
from tests.service import Service, Shop, a_customer, a_lot, a_shop, until
from workflows.reconcile_redemptions import ReconcileRedemptions

CHANNELS = ["klaviyo", "metafields", "omnisend", "postscript"]


@pytest.fixture
async def shop(service: Service) -> Shop:
    return await service.open_shop(a_shop(a_customer(a_lot(500))))


async def reconcile(service: Service) -> None:
    """One round of the reconciler."""
    await service.temporal.execute_workflow(
        ReconcileRedemptions.run,
        id=reconciler_of(service),
        task_queue=service.settings.temporal_task_queue,
    )


def reconciler_of(service: Service) -> str:
    """The workflow id of its rounds."""
    return f"reconcile-{service.settings.temporal_task_queue}"


async def settled(service: Service, redemption_id: str, attempt: int = 1) -> str:
    """How the settlement ended."""
    return await service.temporal.get_workflow_handle(settlement_id(redemption_id, attempt)).result()


async def later(service: Service, redemption: str, *, minutes: float = 5) -> None:
    """Long after the purchase, for the database."""
    then = func.now() - timedelta(minutes=minutes)
    async with service.store.begin() as session:
        mine = Redemption.id == redemption
        await session.execute(update(Redemption).where(mine).values(deadline=then))
        captured = mine & Redemption.captured_at.is_not(None)
        await session.execute(update(Redemption).where(captured).values(captured_at=then))


async def purchase_terminated_at(shop: Shop, vendor: str, operation: str, kind: str) -> str:
    """A purchase, some time ago, whose run was terminated while this vendor was being asked."""
    service = shop.service
    await service.fault(vendor, kind, operation=operation, times=1)
    # It stays away, or the next try, for which a run on this server does not wait, could come before the end.
    await service.fault(vendor, "drop", times=None)
    purchase = asyncio.ensure_future(shop.purchase())
    await until(lambda: _asked(service, vendor))
    [redemption] = await shop.redemptions()
    await service.run_of(redemption.id).terminate(reason="an operator's mistake")
    # Late first, then well: a try that is still under way must not make the purchase after all.
    await later(service, redemption.id)
    await service.heal(vendor)
    await purchase
    return redemption.id


async def _asked(service: Service, vendor: str) -> int:
    return (await service.vendor(vendor))["requests"]


@pytest.mark.recorded
async def test_a_run_terminated_before_the_capture_is_compensated(service: Service, shop: Shop) -> None:
    redemption = await purchase_terminated_at(shop, "shopify", "discountCodeBasicCreate", "execute_then_drop")

    await reconcile(service)

    assert await settled(service, redemption) == "compensated"
    assert "no code can be used" in await service.page_of(settlement_id(redemption, 1))
    assert f"`{settlement_id(redemption, 1)}`" in await service.page_of(reconciler_of(service))
    assert await shop.balance() == 500
    assert await shop.discounts("live") == []
    assert await service.audit() == []


@pytest.mark.recorded
async def test_a_run_terminated_after_the_capture_is_delivered(service: Service, shop: Shop) -> None:
    redemption = await purchase_terminated_at(shop, "klaviyo", "events", "down")

    await reconcile(service)

    assert await settled(service, redemption) == "delivered"
    page = await service.page_of(settlement_id(redemption, 1))
    assert page.startswith("**Purchased")
    assert "- Tell `klaviyo`: **done**" in page
    assert await shop.deliveries() == dict.fromkeys(CHANNELS, "sent")
    assert len(await shop.discounts("live")) == 1
    assert await shop.balance() == 0


async def test_a_live_run_is_left_alone(service: Service, shop: Shop) -> None:
    await service.fault("klaviyo", kind="status", status=401, times=1)
    redemption = (await shop.purchase()).json()["data"]["id"]
    await until(lambda: _is(shop, "klaviyo", "failed"))
    await later(service, redemption)

    await reconcile(service)

    runs = [run.id async for run in service.temporal.list_workflows(f"WorkflowId = '{settlement_id(redemption, 1)}'")]
    assert runs == []


async def test_many_that_wait_do_not_hide_one_whose_run_is_gone(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.housekeeping.AT_A_TIME", 2)
    shop = await service.open_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(4))))
    await service.fault("klaviyo", kind="status", status=401, times=None)
    ids = [(await shop.purchase(customer=one)).json()["data"]["id"] for one in shop.customers]
    await until(lambda: _all_failed(service, ids))
    for number, redemption in enumerate(ids):
        await later(service, redemption, minutes=60 - number)
    await service.run_of(ids[-1]).terminate(reason="an operator's mistake")
    await until(lambda: _settlement_of(service, ids[-1]))

    await service.heal("klaviyo")


async def _settlement_of(service: Service, redemption: str) -> bool:
    """Whether a round of the reconciler started one; the first may come before the engine's search knows."""
    await reconcile(service)
    query = f"WorkflowId = '{settlement_id(redemption, 1)}'"
    return bool([run.id async for run in service.temporal.list_workflows(query)])


async def _all_failed(service: Service, ids: list[str]) -> bool:
    failed = select(func.count()).where(Delivery.redemption_id.in_(ids), Delivery.status == "failed")
    async with service.store() as session:
        return await session.scalar(failed) == len(ids)


async def test_what_has_come_to_its_end_is_not_settled_again(service: Service, shop: Shop) -> None:
    redemption = (await shop.purchase()).json()["data"]["id"]
    await service.end_of(redemption)
    await later(service, redemption)

    await reconcile(service)

    runs = [run.id async for run in service.temporal.list_workflows(f"WorkflowId = '{settlement_id(redemption, 1)}'")]
    assert runs == []


async def _is(shop: Shop, channel: str, status: str) -> bool:
    return (await shop.deliveries()).get(channel) == status


async def test_keys_are_kept_for_thirty_days(service: Service, shop: Shop) -> None:
    await shop.purchase(key="old")
    await shop.purchase(key="young")
    async with service.store.begin() as session:
        old = IdempotencyKey.key == "old"
        await session.execute(update(IdempotencyKey).where(old).values(created_at=func.now() - timedelta(days=31)))

    await reconcile(service)

    assert "idempotency-replayed" not in (await shop.purchase(key="old")).headers
    assert (await shop.purchase(key="young")).headers["idempotency-replayed"] == "true"
