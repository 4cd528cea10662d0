"""Situations in which an operator acts."""

import asyncio
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, update

from clients.temporal import search_statuses
from db.tables import ActivityLog, Delivery, DiscountCode, Redemption, Refund
from domain.ids import purchase_workflow_id
from services.stuck import Stuck, StuckFinder, StuckKind
from tests.builders import a_customer, a_lot, a_shop
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_for_stage, wait_until

BY_ANN = ("--by", "ann", "--reason", "key replaced")


async def open_shop(service: Service, customers: int = 1) -> Shop:
    """Open a shop with customers who can each buy once."""
    return await service.open_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(customers))))


async def buy(shop: Shop) -> list[str]:
    """Let each customer buy once."""
    answers = await asyncio.gather(*(shop.purchase(customer=customer) for customer in shop.customers))
    return [answer.json()["data"]["id"] for answer in answers]


async def buy_delivered(shop: Shop) -> str:
    """One purchase, delivered to every channel."""
    [redemption] = await buy(shop)
    await shop.service.wait_for_purchase(redemption)
    return redemption


async def buy_rejected(shop: Shop) -> list[str]:
    """Purchases that wait for an operator, as Klaviyo has rejected their events."""
    await shop.service.add_fault("klaviyo", kind="status", status=401, times=None)
    ids = await buy(shop)
    for redemption in ids:
        await wait_for_stage(shop.service.purchase_workflow(redemption), "NeedsAttention")
    return ids


async def refund_rejected(shop: Shop) -> str:
    """A delivered purchase, and its refund that waits for an operator, as Klaviyo has rejected the event."""
    redemption = await buy_delivered(shop)
    await shop.service.add_fault("klaviyo", kind="status", status=401, times=None)
    assert (await shop.refund(redemption)).status_code == 200
    await wait_for_stage(shop.service.refund_workflow(redemption), "NeedsAttention")
    return redemption


async def buy_terminated(shop: Shop) -> str:
    """A purchase that was terminated before Klaviyo got the event."""
    await shop.service.add_fault("klaviyo", kind="down")
    [redemption] = await buy(shop)
    await wait_for_deliveries(shop, pending=1, sent=3)
    await terminate(shop.service, purchase_workflow_id(redemption, 1))
    await shop.service.clear_faults("klaviyo")
    return redemption


async def terminate(service: Service, workflow_id: str) -> None:
    """Terminate a workflow, and wait until the search lists it as terminated."""
    await service.temporal.get_workflow_handle(workflow_id).terminate(reason="an operator's mistake")

    async def is_listed() -> bool:
        return await search_statuses(service.temporal, [workflow_id]) == {workflow_id: "terminated"}

    await wait_until(is_listed)


async def an_hour_later(service: Service) -> None:
    """Move every time in the database back by an hour."""
    hour = timedelta(hours=1)
    redeemed = {"deadline": Redemption.deadline - hour, "captured_at": Redemption.captured_at - hour}
    refunded = {"created_at": Refund.created_at - hour, "refunded_at": Refund.refunded_at - hour}
    async with service.store.begin() as session:
        await session.execute(update(Redemption).values(redeemed))
        await session.execute(update(DiscountCode).values(updated_at=func.now() - hour))
        await session.execute(update(Delivery).values(created_at=Delivery.created_at - hour))
        await session.execute(update(Refund).values(refunded))


async def delivery_statuses(shop: Shop) -> dict[str, int]:
    """Number of the shop's deliveries, by status."""
    query = select(Delivery.status, func.count()).join(Redemption).where(Redemption.customer_id.in_(shop.customers))
    async with shop.service.store() as session:
        return dict(list(await session.execute(query.group_by(Delivery.status))))


async def wait_for_deliveries(shop: Shop, **expected: int) -> None:
    """Wait for these numbers of deliveries, by status. Temporal needs time to notice a stopped worker."""

    async def are_as_expected() -> bool:
        return await delivery_statuses(shop) == expected

    await wait_until(are_as_expected, seconds=90)


async def wait_until_delivered(shop: Shop) -> None:
    """Wait until every purchase is delivered."""
    await wait_for_deliveries(shop, sent=4 * len(shop.customers))


async def logged_actions(service: Service) -> list[tuple[str, dict[str, Any]]]:
    """Operator actions in the activity log."""
    query = select(ActivityLog.kind, ActivityLog.facts).where(ActivityLog.action_key.is_not(None))
    async with service.store() as session:
        return [(kind, facts) for kind, facts in await session.execute(query.order_by(ActivityLog.id))]


async def wait_for_stuck(service: Service, kind: StuckKind) -> Stuck:
    """Wait until the search lists one stuck workflow of this kind."""
    queue = service.settings.temporal_task_queue
    deadline = service.settings.purchase_deadline
    finder = StuckFinder(store=service.store, temporal=service.temporal, task_queue=queue, deadline=deadline)
    found: list[Stuck] = []

    async def is_listed() -> bool:
        found[:] = [one async for one in finder.find() if one.kind is kind]
        return bool(found)

    await wait_until(is_listed)
    [one] = found
    return one


async def requests(service: Service, vendor: str) -> int:
    """Number of requests that a vendor has received."""
    return (await service.vendor(vendor))["requests"]
