"""A terminated purchase is settled by the schedule that `pointsaga schedules apply` has created."""

import asyncio

from services.schedules import RECONCILE
from tests.builders import a_customer, a_lot, a_shop
from tests.e2e.deployment import COST, Deployment
from tests.faults import CREATE_CODE, OperatorAction, VendorFault, end_workflow
from tests.waiting import wait_until


async def test_the_schedule_settles_a_terminated_purchase(deployment: Deployment) -> None:
    shop = await deployment.open_shop(a_shop(a_customer(a_lot(COST))))
    await deployment.start_worker()
    await deployment.inject("shopify", VendorFault.LOST, operation=CREATE_CODE)
    await deployment.inject("shopify", VendorFault.SLOW, seconds=3)
    purchase = asyncio.ensure_future(shop.purchase())
    await deployment.code_is_requested()
    [redemption] = await shop.redemptions()

    await end_workflow(deployment.purchase_workflow(redemption.id), OperatorAction.TERMINATE)

    assert (await purchase).status_code == 503
    schedule = deployment.temporal.get_schedule_handle(RECONCILE)

    async def is_settled() -> bool:
        # Sooner than the next minute. The reconciler still decides what is due.
        await schedule.trigger()
        await asyncio.sleep(2)
        return (await shop.redemptions())[0].status == "failed"

    async def is_fenced() -> bool:
        return await shop.discounts("live") == []

    await wait_until(is_settled, seconds=90)
    assert await shop.balance() == COST
    await wait_until(is_fenced)
