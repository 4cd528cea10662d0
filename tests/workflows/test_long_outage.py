"""Shopify is down for long, in skipped time. `--outage-hours 24` makes it a day."""

import asyncio

from tests.builders import a_customer, a_lot, a_shop
from tests.faults import CREATE_CODE, VendorFault
from tests.service import Service
from tests.workflows.conftest import Outage


async def test_a_long_outage_leaves_no_charge_and_no_code(service: Service, outage: Outage) -> None:
    shop = await service.open_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(3))))
    # Two codes are created, and the response is lost. The third is not created.
    await service.inject("shopify", VendorFault.LOST, operation=CREATE_CODE, times=2)
    await service.inject("shopify", VendorFault.SERVER_ERROR, times=None)

    answers = await asyncio.gather(*(shop.purchase(customer=customer) for customer in shop.customers))

    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert [await shop.balance(customer) for customer in shop.customers] == [500, 500, 500]
    rows = await shop.redemptions()
    assert {row.status for row in rows} == {"failed"}
    assert len(await shop.discounts("live")) == 2
    await outage(service.purchase_workflow(rows[0].id))
    await service.clear_faults("shopify")

    assert {await service.wait_for_purchase(row.id) for row in rows} == {"FAILED"}
    assert await shop.discounts("live") == []
    assert await service.audit() == []
