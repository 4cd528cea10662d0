"""A run that an operator terminates is settled by the schedule that `pointsaga schedules apply` made."""

import asyncio

from services.schedules import RECONCILE
from tests.e2e.deployment import CREATE, Deployment
from tests.service import Shop, a_customer, a_lot, a_shop, until


async def test_a_purchase_terminated_in_the_ui_is_settled_by_the_schedule(deployment: Deployment) -> None:
    shop = await deployment.open_shop(a_shop(a_customer(a_lot(500))))
    await deployment.start_worker()
    await deployment.fault("shopify", "execute_then_drop", operation=CREATE, times=1)
    await deployment.fault("shopify", "latency", seconds=3, times=1)
    purchase = asyncio.ensure_future(shop.purchase())
    await deployment.shopify_is_asked()
    [redemption] = await shop.redemptions()

    await deployment.run_of(redemption.id).terminate(reason="an operator's mistake")

    assert (await purchase).status_code == 503
    schedule = deployment.temporal.get_schedule_handle(RECONCILE)

    async def is_settled() -> bool:
        # Sooner than the next minute; what is due is still decided by the reconciler.
        await schedule.trigger()
        await asyncio.sleep(2)
        return (await shop.redemptions())[0].status == "failed"

    await until(is_settled, seconds=90)
    assert await shop.balance() == 500
    await until(lambda: _no_code_lives(shop))


async def _no_code_lives(shop: Shop) -> bool:
    return await shop.discounts("live") == []
