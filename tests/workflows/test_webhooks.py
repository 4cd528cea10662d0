"""Webhooks of orders mark codes as used: once, in any order, and never after a refund."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db import redemptions, refunds
from db.tables import DiscountCode, Redemption
from domain.ids import webhook_workflow_id
from domain.refunds import RefundRefusal
from tests.builders import a_customer, a_lot, a_reward, a_shop
from tests.faults import VendorFault
from tests.service import Service, serving
from tests.shop import Shop
from tests.steps import steps_for
from tests.waiting import wait_until
from tests.workflows.webhook_bodies import an_order, needs_samples, sample


@pytest.fixture
async def code(shop: Shop) -> str:
    return await buy_code(shop)


async def buy_code(shop: Shop) -> str:
    answer = await shop.purchase()
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]["attributes"]["discount_code"]


async def statuses(shop: Shop) -> list[str]:
    return [redemption.status for redemption in await shop.redemptions()]


async def logged(shop: Shop) -> list[str]:
    """Kinds of the activity log's entries after the purchase."""
    return [entry.kind for entry in await shop.activity_log() if entry.kind != "reward_redeemed"]


@pytest.mark.recorded
async def test_an_ordered_code_is_used(service: Service, shop: Shop, code: str) -> None:
    order = an_order(code.lower(), "SUMMER", created_at="2026-11-01T12:00:00+01:00")

    await shop.process_webhook("orders/create", order)

    [redemption] = await shop.redemptions()
    assert redemption.status == "used"
    assert redemption.discount_code_redeemed_at == datetime(2026, 11, 1, 11, tzinfo=UTC)
    [entry] = await shop.activity_log("discount_code_used")
    assert (entry.redemption_id, entry.facts) == (redemption.id, {"order_id": "820982911946154508"})
    shown = (await shop.get(f"/v1/reward-history/{redemption.id}")).json()["data"]["attributes"]
    assert (shown["status"], shown["redeemed_at"], shown["discount_code"]) == ("used", "2026-11-01T11:00:00.000Z", code)
    assert await service.audit() == []


async def test_an_order_can_use_several_codes(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(1000))))
    first, second = await buy_code(shop), await buy_code(shop)

    await shop.process_webhook("orders/create", an_order(first, second, first))

    assert await statuses(shop) == ["used", "used"]


@needs_samples
@pytest.mark.parametrize("topic", ["orders/create", "orders/cancelled"])
async def test_shopifys_sample_order_uses_its_code(shop: Shop, code: str, topic: str) -> None:
    await shop.process_webhook(topic, sample(topic, discount_codes=an_order(code)["discount_codes"]))

    assert await statuses(shop) == ["used"]


async def test_a_repeated_webhook_is_processed_once(shop: Shop, code: str) -> None:
    order = an_order(code)

    answers = [await shop.send_webhook("orders/create", order, webhook_id="the-same") for _ in range(2)]
    await wait_until(shop.has_processed_webhooks)

    assert [answer.json() for answer in answers] == [{"status": "accepted"}] * 2
    assert len(await shop.webhooks()) == 1
    assert await logged(shop) == ["discount_code_used"]


async def test_an_order_in_two_webhooks_is_logged_once(shop: Shop, code: str) -> None:
    order = an_order(code)

    await asyncio.gather(shop.process_webhook("orders/create", order), shop.process_webhook("orders/create", order))

    assert await logged(shop) == ["discount_code_used"]


async def test_another_shops_order_does_not_use_the_code(service: Service, shop: Shop, code: str) -> None:
    other = await service.open_shop(a_shop())

    await other.process_webhook("orders/create", an_order(code))

    assert await statuses(shop) == ["active"]


async def test_a_cancelled_order_returns_no_points(shop: Shop, code: str) -> None:
    order = an_order(code)

    # The webhook of the order itself arrives last.
    for _ in range(2):
        await shop.process_webhook("orders/cancelled", {**order, "cancelled_at": order["created_at"]})
    await shop.process_webhook("orders/create", order)

    assert await statuses(shop) == ["used"]
    assert await shop.balance() == 0
    assert await logged(shop) == ["discount_code_used", "order_cancelled"]


async def refund(session: AsyncSession, redemption_id: str) -> bool:
    """Refund in the ledger. False: the code was used."""
    row = await session.get_one(Redemption, redemption_id)
    requested = await refunds.request_refund(session, row, actor="an operator", reason=None, channels=[])
    if isinstance(requested, RefundRefusal) or not await redemptions.refund(session, row.id, row.attempt):
        return False
    await refunds.complete(session, row, contact=b"")
    return True


async def test_an_earlier_refund_wins_over_the_order(service: Service, shop: Shop, code: str) -> None:
    [redemption] = await shop.redemptions()

    async with service.store.begin() as session:
        assert await refund(session, redemption.id)
        await shop.send_webhook("orders/create", an_order(code))
        await asyncio.sleep(0.3)  # the activity waits for the row, or reads it after the commit
        assert not await shop.has_processed_webhooks()
    await wait_until(shop.has_processed_webhooks)

    assert await statuses(shop) == ["expired"]
    assert await logged(shop) == ["reward_refunded", "discount_code_used_after_refund"]


async def test_a_concurrent_refund_and_order_have_one_winner(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(1000)), rewards=[a_reward(points_cost=100)]))
    codes = [await buy_code(shop) for _ in range(4)]

    async def is_refunded(redemption_id: str) -> bool:
        async with service.store.begin() as session:
            return await refund(session, redemption_id)

    orders = [shop.send_webhook("orders/create", an_order(code)) for code in codes]
    refunded = await asyncio.gather(*(is_refunded(row.id) for row in await shop.redemptions()), *orders)
    await wait_until(shop.has_processed_webhooks)

    log = {one.redemption_id: one.kind for one in await shop.activity_log() if one.kind != "reward_redeemed"}
    for won, row in zip(refunded, await shop.redemptions(), strict=False):
        assert (row.status, row.is_refunded) == (("expired", True) if won else ("used", False))
        assert log[row.id] == ("discount_code_used_after_refund" if won else "discount_code_used")
    assert await service.audit() == []


@pytest.mark.parametrize(
    ("late", "status", "kind"),
    [
        (timedelta(minutes=-1), "used", "discount_code_used"),
        (timedelta(minutes=59), "used", "discount_code_used"),
        (timedelta(minutes=61), "expired", "discount_code_used_after_expiry"),
    ],
)
async def test_an_order_in_time_uses_an_expired_code(
    service: Service, shop: Shop, code: str, late: timedelta, status: str, kind: str
) -> None:
    end = datetime.now(UTC) - timedelta(days=1)
    async with service.store.begin() as session:
        await session.execute(update(Redemption).values(status="expired", expires_at=end))

    await shop.process_webhook("orders/create", an_order(code, created_at=(end + late).isoformat()))

    assert await statuses(shop) == [status]
    assert await logged(shop) == [kind]


async def test_a_use_waits_for_the_capture(service: Service) -> None:
    steps = await steps_for(service, a_lot(500))
    assert await steps.points.reserve_points(steps.first) is None
    [code] = await steps.codes()

    await steps.shop.send_webhook("orders/create", an_order(code.code))
    await asyncio.sleep(0.5)  # time for a first attempt
    assert not await steps.shop.has_processed_webhooks()
    await steps.discounts.generate_discount_code(steps.first)
    await wait_until(steps.shop.has_processed_webhooks)

    assert (await steps.row()).status == "used"


async def test_the_use_of_a_released_code_is_logged(service: Service, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.FORBIDDEN, times=None)
    await shop.purchase()
    await service.clear_faults("shopify")
    [redemption] = await shop.redemptions()
    await service.wait_for_purchase(redemption.id)
    async with service.store() as session:
        [code] = await session.scalars(select(DiscountCode.code))

    await shop.process_webhook("orders/create", an_order(code))

    assert await statuses(shop) == ["failed"]
    assert await logged(shop) == ["unpaid_discount_code_used"]
    assert await service.audit() == []


async def test_the_reconciler_processes_forgotten_webhooks(service: Service, shop: Shop, code: str) -> None:
    async with serving(service.settings.model_copy(update={"temporal_address": "127.0.0.1:1"})) as api:
        await shop.send_webhook("orders/create", an_order(code), api=api)
    await service.let_time_pass(timedelta(minutes=1))

    await service.reconcile()
    await wait_until(shop.has_processed_webhooks)

    assert await statuses(shop) == ["used"]


async def test_processed_webhooks_are_kept_for_thirty_days(service: Service, shop: Shop) -> None:
    await shop.process_webhook("customers/delete", {"id": 1})
    await service.let_time_pass(timedelta(days=31))
    await shop.process_webhook("customers/delete", {"id": 2})

    await service.reconcile()

    assert len(await shop.webhooks()) == 1


async def test_a_processed_body_is_stored_nowhere(service: Service, shop: Shop, code: str) -> None:
    order = an_order(code, email="jane@shopper.io", customer={"first_name": "Hildegard"})

    await shop.process_webhook("orders/create", order)

    [webhook] = await shop.webhooks()
    assert webhook.payload is None
    workflow = service.temporal.get_workflow_handle(webhook_workflow_id(shop.domain, webhook.id))
    await workflow.result()
    history = (await workflow.fetch_history()).to_json()
    for word in (code, "jane@shopper.io", "Hildegard", "820982911946154508"):
        assert word not in history
