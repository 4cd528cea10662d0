"""What goes wrong before an operator is called."""

import asyncio
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, update

from clients.temporal import endings
from db.tables import ActivityLog, Delivery, DiscountCode, Redemption, Refund
from domain.redemptions import workflow_id
from tests.service import Service, Shop, a_customer, a_lot, a_shop, until


async def a_shop_of(service: Service, customers: int = 1) -> Shop:
    """Customers who can buy once each."""
    return await service.open_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(customers))))


async def refused_by_klaviyo(shop: Shop) -> list[str]:
    """Each customer buys, and Klaviyo refuses the shop's key; all has come to rest."""
    await shop.service.fault("klaviyo", kind="status", status=401, times=None)
    ids = await buy(shop)
    await at_rest(shop, failed=len(ids), sent=3 * len(ids))
    return ids


async def mended(service: Service) -> None:
    """The key is right again."""
    await service.heal("klaviyo")


async def buy(shop: Shop) -> list[str]:
    """Each customer buys once."""
    answers = await asyncio.gather(*(shop.purchase(customer=customer) for customer in shop.customers))
    return [answer.json()["data"]["id"] for answer in answers]


async def terminated_while_klaviyo_is_down(shop: Shop) -> str:
    """A purchase whose run is gone before all were told; Klaviyo is well again."""
    await shop.service.fault("klaviyo", kind="down")
    [redemption] = await buy(shop)
    await at_rest(shop, pending=1, sent=3)
    await terminate(shop.service, redemption)
    await shop.service.heal("klaviyo")
    return redemption


async def terminate(service: Service, redemption: str) -> None:
    """End the run, and wait until the engine's search knows."""
    await terminate_run(service, workflow_id(redemption, 1))


async def terminate_run(service: Service, run: str) -> None:
    """The same, by the run's workflow id."""
    await service.temporal.get_workflow_handle(run).terminate(reason="an operator's mistake")

    async def is_known() -> bool:
        return await endings(service.temporal, [run]) == {run: "terminated"}

    await until(is_known)


async def refunded_unheard_by_klaviyo(shop: Shop) -> str:
    """A purchase that all were told of, and its refund, of which Klaviyo refuses to hear; all has come to rest."""
    [redemption] = await buy(shop)
    await shop.service.end_of(redemption)
    await shop.service.fault("klaviyo", kind="status", status=401, times=None)
    assert (await shop.refund(redemption)).status_code == 200
    await at_rest(shop, failed=1, sent=7)
    return redemption


async def much_later(service: Service) -> None:
    """For the database, everything so far was an hour ago."""
    hour = timedelta(hours=1)
    async with service.store.begin() as session:
        await session.execute(
            update(Redemption).values(deadline=Redemption.deadline - hour, captured_at=Redemption.captured_at - hour)
        )
        await session.execute(update(DiscountCode).values(updated_at=func.now() - hour))
        await session.execute(update(Delivery).values(created_at=Delivery.created_at - hour))
        await session.execute(
            update(Refund).values(created_at=Refund.created_at - hour, refunded_at=Refund.refunded_at - hour)
        )


async def statuses(shop: Shop) -> dict[str, int]:
    """How many deliveries of the shop are in which status."""
    query = select(Delivery.status, func.count()).join(Redemption).where(Redemption.customer_id.in_(shop.customers))
    async with shop.service.store() as session:
        return dict(list(await session.execute(query.group_by(Delivery.status))))


async def at_rest(shop: Shop, **expected: int) -> None:
    """Wait until as many deliveries are in each status. After a worker has gone, the engine takes its time."""

    async def are() -> bool:
        return await statuses(shop) == expected

    await until(are, seconds=90)


async def all_sent(shop: Shop) -> None:
    """Wait until everybody was told of everything."""
    await at_rest(shop, sent=4 * len(shop.customers))


async def requests_logged(service: Service) -> list[tuple[str, dict[str, Any]]]:
    """What the activity log says that operators asked for."""
    query = select(ActivityLog.kind, ActivityLog.facts).where(ActivityLog.mark.is_not(None)).order_by(ActivityLog.id)
    async with service.store() as session:
        return [(kind, facts) for kind, facts in await session.execute(query)]
