"""Shopify is away for long, in skipped time. `--outage-hours 24` makes it a day; each skip costs a real second."""

import asyncio
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.service import Service, a_customer, a_lot, a_shop, until


async def test_while_shopify_is_away_nobody_is_charged_and_afterwards_no_code_was_free(
    service: Service, temporal: WorkflowEnvironment, request: pytest.FixtureRequest
) -> None:
    outage = timedelta(hours=float(request.config.getoption("--outage-hours") or 0))
    shop = await service.open_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(3))))
    # The first two are made, and nobody hears of it; the third is not made.
    await service.fault("shopify", operation="discountCodeBasicCreate", kind="execute_then_drop", times=2)
    await service.fault("shopify", kind="status", status=502, times=None)

    answers = await asyncio.gather(*(shop.purchase(customer=customer) for customer in shop.customers))

    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert [await shop.balance(customer) for customer in shop.customers] == [500, 500, 500]
    assert {row.status for row in await shop.redemptions()} == {"failed"}
    assert len(await shop.discounts("live")) == 2
    run = service.run_of((await shop.redemptions())[0].id)
    began = (await run.describe()).start_time

    async def is_over() -> bool:
        return await temporal.get_current_time(run) - began > outage

    # A skip costs a second, and more on a busy machine.
    await until(is_over, seconds=60 + 240 * outage / timedelta(hours=1))
    await service.heal("shopify")

    endings = {await service.end_of(row.id) for row in await shop.redemptions()}
    assert endings == {"FAILED"}
    assert await shop.discounts("live") == []
    assert await service.audit() == []
