"""Why a purchase failed stays known, whatever Temporal has forgotten."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from db.tables import FailedAttempt
from domain.failures import FailureCode
from domain.ids import settlement_workflow_id
from tests.builders import encrypt_with_lost_key
from tests.faults import CREATE_CODE, OperatorAction, VendorFault, end_workflow
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_for_end
from tests.workflows.situations import wait_for_request


async def failures(shop: Shop) -> list[tuple[str, str]]:
    """Code and reason of each failed attempt."""
    ids = [one.id for one in await shop.redemptions()]
    query = select(FailedAttempt).where(FailedAttempt.redemption_id.in_(ids)).order_by(FailedAttempt.attempt)
    async with shop.service.store() as session:
        return [(row.code, row.reason or "") for row in await session.scalars(query)]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (VendorFault.UNAUTHORIZED.script(times=None), FailureCode.CONFIGURATION_REJECTED, "HTTP 401"),
        (VendorFault.SERVER_ERROR.script(status=400, times=None), FailureCode.REQUEST_REJECTED, "HTTP 400"),
        (VendorFault.DOWN.script(), FailureCode.SHOPIFY_UNAVAILABLE, "ConnectError"),
        (VendorFault.DROPPED.script(times=None), FailureCode.SHOPIFY_UNAVAILABLE, "RemoteProtocolError"),
        (VendorFault.THROTTLED.script(retry_after=120, times=None), FailureCode.SHOPIFY_UNAVAILABLE, "THROTTLED"),
    ],
)
async def test_the_vendors_words_are_kept(
    service: Service, shop: Shop, fault: dict[str, Any], code: FailureCode, words: str
) -> None:
    await service.add_fault("shopify", **fault)

    assert (await shop.purchase()).status_code == 503

    [(kept, reason)] = await failures(shop)
    assert kept == code
    assert reason.startswith("Shopify: ")
    assert words in reason
    await service.clear_faults("shopify")


async def test_unreadable_credentials_are_named(shop: Shop) -> None:
    await shop.set_credentials(shopify=encrypt_with_lost_key(access_token="shpat_lost"))

    assert (await shop.purchase()).status_code == 503

    reason = "Shopify: none of ENCRYPTION_KEYS decrypts the shop's credentials"
    assert await failures(shop) == [(FailureCode.CONFIGURATION_REJECTED, reason)]


async def test_each_attempt_keeps_its_reason(service: Service, shop: Shop) -> None:
    for fault in (VendorFault.UNAUTHORIZED, VendorFault.FORBIDDEN):
        await service.inject("shopify", fault)
        assert (await shop.purchase(key="again")).status_code == 503
    assert (await shop.purchase(key="again")).status_code == 201

    assert [reason.partition("HTTP ")[2][:3] for _, reason in await failures(shop)] == ["401", "403"]


async def test_a_cancellation_is_a_reason(service: Service, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.DROPPED, times=None)
    purchase = asyncio.ensure_future(shop.purchase())
    await wait_for_request(service, "shopify")
    [redemption] = await shop.redemptions()

    await end_workflow(service.purchase_workflow(redemption.id), OperatorAction.CANCEL)
    await purchase

    assert await failures(shop) == [(FailureCode.CANCELLED, "the workflow was cancelled")]
    await service.clear_faults("shopify")


async def test_a_recovered_purchase_says_that_its_workflow_was_gone(service: Service, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.DROPPED, operation=CREATE_CODE, times=None)
    purchase = asyncio.ensure_future(shop.purchase())
    await wait_for_request(service, "shopify")
    [redemption] = await shop.redemptions()
    await end_workflow(service.purchase_workflow(redemption.id), OperatorAction.TERMINATE)
    await service.let_time_pass(timedelta(minutes=5))
    await service.reconcile()
    await service.clear_faults("shopify")
    await purchase
    await wait_for_end(service.temporal.get_workflow_handle(settlement_workflow_id(redemption.id, 1)))

    [(code, _)] = await failures(shop)
    assert code == FailureCode.WORKFLOW_GONE


async def test_a_purchase_keeps_no_reason(shop: Shop) -> None:
    await shop.buy()

    assert await failures(shop) == []
