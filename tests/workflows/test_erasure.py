"""Erasure: no table contains personal data any more, and the ledger is unchanged."""

import asyncio
import json
import sys
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from db.metafields import mark_stale
from db.tables import ActivityLog, Customer, Delivery, LedgerEntry
from tests.builders import Json, a_customer, a_lot, a_shop
from tests.faults import CREATE_CODE, VendorFault
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_until
from tests.workflows.situations import CHANNELS, wait_for_request
from tests.workflows.webhook_bodies import a_profile, an_order

EMAIL = "h.wintergreen@shopper.io"
PHONE = "+447700900999"
PROFILE = {"email": EMAIL, "phone": PHONE, "first_name": "Hildegard", "last_name": "Wintergreen"}
TEXT_COLUMNS = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND data_type IN ('text', 'character varying', 'jsonb', 'json', 'ARRAY', 'bytea')
"""


async def columns_with(service: Service, *words: str) -> set[str]:
    """Every column of the database that contains one of the words, in any case."""
    found: set[str] = set()
    async with service.store() as session:
        for table, column in (await session.execute(text(TEXT_COLUMNS))).all():
            matches = f"""position(:word in lower("{column}"::text)) > 0 OR position(:bytes in "{column}"::text) > 0"""
            query = text(f'SELECT 1 FROM "{table}" WHERE {matches} LIMIT 1')
            for word in words:
                binds = {"word": word.lower(), "bytes": word.encode().hex()}
                if (await session.execute(query, binds)).first():
                    found.add(f"{table}.{column}")
    return found


async def personal_columns(service: Service) -> set[str]:
    return await columns_with(service, *PROFILE.values())


@pytest.fixture
async def shop(service: Service) -> Shop:
    """Hildegard, with 1100 points, and Sam, with 500."""
    hildegard = a_customer(a_lot(1000), a_lot(100), **PROFILE)
    hildegard["lots"][1] |= {"id": "birthday of Hildegard", "source": "Wintergreen"}
    return await service.open_shop(a_shop(hildegard, a_customer(a_lot(500), first_name="Sam")))


def about_hildegard(shop: Shop, **more: Any) -> Json:
    """Body of a privacy webhook."""
    customer = {"id": int(shop.customers[0]), "email": EMAIL, "phone": PHONE}
    return {"shop_id": 954889, "shop_domain": shop.domain, "customer": customer, "orders_to_redact": [1], **more}


async def redact(shop: Shop, **changes: Any) -> None:
    await shop.process_webhook("customers/redact", about_hildegard(shop, **changes))


async def leave_traces(shop: Shop) -> None:
    """Purchases, refused and refunded ones too, whose keys, reasons and errors contain personal data."""
    service = shop.service
    refunded = await shop.buy()
    assert (await shop.refund(refunded, "Hildegard rang")).status_code == 200
    await service.wait_for_refund(refunded)
    await service.add_fault("klaviyo", kind="status", status=400, body={"error": f"{EMAIL} is no profile"})
    assert (await shop.purchase(key=f"{EMAIL}-1")).status_code == 201
    await wait_until(lambda: has_failed_delivery(service))
    assert (await shop.purchase(customer=f"not.{EMAIL}", key="not-found")).status_code == 404
    assert (await shop.purchase(customer=PHONE)).status_code == 404
    assert (await shop.purchase(reward="nope", customer=EMAIL, key=f"{EMAIL}-2")).status_code == 404
    code = (await shop.purchase()).json()["data"]["attributes"]["discount_code"]
    await shop.process_webhook("orders/create", an_order(code))
    [first, *_] = await shop.redemptions()
    async with service.store.begin() as session:
        ids = {"shop_id": first.shop_id, "customer_id": first.customer_id}
        session.add(ActivityLog(**ids, kind="points_adjusted", facts={"reason": "requested by Hildegard"}))
        sent = (Delivery.redemption_id == first.id, Delivery.channel == "omnisend")
        await session.execute(update(Delivery).where(*sent).values(status="skipped", last_error="Hildegard left"))


async def has_failed_delivery(service: Service) -> bool:
    async with service.store() as session:
        return "failed" in set(await session.scalars(select(Delivery.status)))


async def ledger(service: Service) -> list[tuple[int, str]]:
    query = select(LedgerEntry.points, LedgerEntry.kind).order_by(LedgerEntry.id)
    async with service.store() as session:
        return [(points, kind) for points, kind in await session.execute(query)]


async def members(service: Service) -> dict[str | None, bool]:
    """First name → whether the customer is erased."""
    async with service.store() as session:
        return {one.first_name: one.erased_at is not None for one in await session.scalars(select(Customer))}


@pytest.mark.parametrize("topic", ["customers/redact", "customers/delete"])
async def test_an_erasure_leaves_only_the_ledger(service: Service, shop: Shop, topic: str) -> None:
    await leave_traces(shop)
    before = await ledger(service)
    traces = {
        "customers.email",
        "idempotency_keys.body",
        "activity_log.facts",
        "deliveries.last_error",
        "refunds.reason",
    }
    assert traces <= await personal_columns(service)

    body = about_hildegard(shop) if topic == "customers/redact" else {"id": int(shop.customers[0])}
    await shop.process_webhook(topic, body)

    assert await personal_columns(service) == set()
    assert await ledger(service) == before
    assert await shop.balance() == 100
    assert await service.audit() == []
    assert await shop.balance(shop.customers[1]) == 500
    assert await members(service) == {None: True, "Sam": False}


async def test_an_erased_customer_cannot_purchase(shop: Shop) -> None:
    assert (await shop.purchase(key="old")).status_code == 201

    await redact(shop)

    again = await shop.purchase(key="old")
    assert (again.status_code, again.json()["errors"][0]["code"]) == (403, "customer_excluded")
    assert await shop.balance() == 600


async def test_an_erasure_does_not_change_an_entry(shop: Shop) -> None:
    entry = f"/v1/reward-history/{await shop.buy()}"
    before = (await shop.get(entry)).json()

    await redact(shop)

    assert (await shop.get(entry)).json() == before


async def test_an_erased_customer_cannot_be_restored(service: Service, shop: Shop) -> None:
    await redact(shop)

    await shop.process_webhook("customers/update", a_profile(shop, PROFILE))
    old = a_customer(a_lot(7), customer_id=shop.customers[0], **PROFILE)
    keys = [{"key": shop.full_key, "scope": "full"}, {"key": shop.read_key, "scope": "read_only"}]
    await service.import_shop(a_shop(old, domain=shop.domain, api_keys=keys))
    update = await shop.send("PUT", f"/v1/customers/{shop.customers[0]}", {"is_excluded": False})

    assert (update.status_code, update.json()["errors"][0]["code"]) == (403, "customer_excluded")
    assert await personal_columns(service) == set()
    assert await shop.balance() == 1100


async def test_unsent_events_of_an_erased_customer_are_skipped(service: Service, shop: Shop) -> None:
    await service.inject("klaviyo", VendorFault.DOWN)
    redemption = (await shop.purchase()).json()["data"]["id"]

    await redact(shop)
    await service.clear_faults("klaviyo")

    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    await shop.wait_for_delivery("klaviyo", "skipped")


async def test_a_failed_send_does_not_replace_the_reason(service: Service, shop: Shop) -> None:
    await service.inject("klaviyo", VendorFault.SLOW, seconds=2)
    await service.inject("klaviyo", VendorFault.SERVER_ERROR)
    redemption = (await shop.purchase()).json()["data"]["id"]
    await wait_for_request(service, "klaviyo")

    await redact(shop)

    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    of_klaviyo = (Delivery.redemption_id == redemption, Delivery.channel == "klaviyo")
    async with service.store() as session:
        delivery = (await session.scalars(select(Delivery).where(*of_klaviyo))).one()
    assert (delivery.status, delivery.last_error) == ("skipped", "the customer was erased")


async def sent_to_vendors(service: Service) -> list[object]:
    """What the vendors know: the number of requests that each marketing vendor has received, and the metafields."""
    requests = [await service.requests(name) for name in ("klaviyo", "omnisend", "postscript")]
    return [*requests, *(await service.vendor("shopify"))["metafields"]]


async def test_a_refund_of_an_erased_customer_is_not_announced(service: Service, shop: Shop) -> None:
    redemption = await shop.buy()
    await redact(shop)
    before = await sent_to_vendors(service)

    assert (await shop.refund(redemption)).status_code == 200

    assert await service.wait_for_refund(redemption) == "COMPLETED"
    assert await shop.deliveries("reward_refunded") == dict.fromkeys(CHANNELS, "skipped")
    assert await sent_to_vendors(service) == before
    assert await shop.stale_customers() == set()
    assert await shop.balance() == 1100


async def test_a_purchase_during_the_erasure_is_not_announced(service: Service, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.SLOW, operation=CREATE_CODE, seconds=2)
    before = await sent_to_vendors(service)
    purchase = asyncio.ensure_future(shop.purchase())
    await wait_for_request(service, "shopify")

    await redact(shop)

    redemption = (await purchase).json()["data"]["id"]
    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    assert await shop.deliveries() == dict.fromkeys(CHANNELS, "skipped")
    assert await sent_to_vendors(service) == before
    assert await service.audit() == []


async def test_an_erased_customer_has_no_stale_metafield(service: Service, shop: Shop) -> None:
    await shop.adjust(5)
    assert await shop.stale_customers() == {shop.customers[0]}

    await redact(shop)
    assert await shop.stale_customers() == set()

    async with service.store.begin() as session:
        await mark_stale(session, (await shop.row()).id, shop.customers[0])
    assert await shop.stale_customers() == set()


async def test_a_customer_is_erased_by_address(service: Service, shop: Shop) -> None:
    await redact(shop, customer={"email": EMAIL.upper()})

    assert await personal_columns(service) == set()


@pytest.mark.parametrize("name", ["guest", "gäst"])
async def test_a_guest_is_erased_by_address(service: Service, shop: Shop, name: str) -> None:
    assert (await shop.purchase(customer=f"{name.upper()}@elsewhere.io", key="a")).status_code == 404

    await redact(shop, customer={"id": None, "email": f"{name.title()}@Elsewhere.io", "phone": None})

    assert await columns_with(service, "@elsewhere.io") == set()
    assert await members(service) == {"Hildegard": False, "Sam": False}


@pytest.mark.parametrize("topic", ["customers/redact", "shop/redact"])
async def test_a_body_of_another_shop_is_ignored(service: Service, shop: Shop, topic: str) -> None:
    body = about_hildegard(shop, shop_domain="another.myshopify.com")
    if topic == "shop/redact":
        body = {name: body[name] for name in ("shop_id", "shop_domain")}

    await shop.process_webhook(topic, body)

    assert await members(service) == {"Hildegard": False, "Sam": False}


@pytest.mark.recorded
async def test_a_shop_is_erased_in_batches(service: Service, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.webhook_topics.CUSTOMERS_PER_BATCH", 1)
    assert (await shop.purchase(key=f"{EMAIL}-1")).status_code == 201
    assert (await shop.purchase(customer=f"not.{EMAIL}")).status_code == 404
    before = await ledger(service)

    await shop.process_webhook("shop/redact", {"shop_id": 954889, "shop_domain": shop.domain})

    async with service.store() as session:
        assert await session.scalar(select(func.count()).where(Customer.erased_at.is_(None))) == 0
    assert await personal_columns(service) == set()
    assert (await shop.get(f"/v1/customers/{shop.customers[0]}")).status_code == 401
    assert await ledger(service) == before
    assert await service.audit() == []


async def test_a_data_request_is_logged(shop: Shop) -> None:
    await shop.process_webhook("customers/data_request", about_hildegard(shop, data_request={"id": 9999}))

    [entry] = await shop.activity_log("customer_data_requested")
    assert (entry.customer_id, entry.facts) == (shop.customers[0], {"data_request_id": "9999"})


async def test_the_export_contains_one_customer(shop: Shop) -> None:
    await leave_traces(shop)

    command = [sys.executable, "-m", "cli", "customer-data", shop.domain, shop.customers[0]]
    process = await asyncio.create_subprocess_exec(*command, env=shop.service.env, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()

    assert process.returncode == 0
    exported = json.loads(output)
    assert PROFILE.items() <= exported["customers"][0].items()
    assert [lot["points"] for lot in exported["point_lots"]] == [1000, 100]
    assert {"redemptions", "discount_codes", "ledger_entries", "activity_log", "deliveries"} <= set(exported)
    assert {row["customer_id"] for row in exported["redemptions"]} == {shop.customers[0]}
    assert shop.customers[1] not in output.decode()
