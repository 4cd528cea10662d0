"""Who asks to be forgotten is: nothing personal is left in any table, and the ledger's numbers stay."""

import asyncio
import json
import sys
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from activities import webhook_topics
from db.metafields import mark_stale
from db.tables import ActivityLog, Customer, Delivery, LedgerEntry
from settings import Settings
from tests.service import Json, Service, Shop, a_customer, a_lot, a_shop, until
from tests.workflows.test_webhooks import a_profile, an_order, buy, member

EVERY_TEXT = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND data_type IN ('text', 'character varying', 'jsonb', 'json', 'ARRAY', 'bytea')
"""


async def found_in(service: Service, *words: str) -> set[str]:
    """Every column of the database in which one of the words stands, whatever the case."""
    found: set[str] = set()
    async with service.store() as session:
        for table, column in (await session.execute(text(EVERY_TEXT))).all():
            told = f"""position(:word in lower("{column}"::text)) > 0 OR position(:bytes in "{column}"::text) > 0"""
            query = text(f'SELECT 1 FROM "{table}" WHERE {told} LIMIT 1')
            for word in words:
                binds = {"word": word.lower(), "bytes": word.encode().hex()}
                if (await session.execute(query, binds)).first():
                    found.add(f"{table}.{column}")
    return found


@pytest.fixture
async def shop(service: Service) -> Shop:
    """Hildegard, with 1100 points, and Sam, with 500."""
    hildegard = a_customer(a_lot(1000), a_lot(100))
    hildegard |= personal(hildegard["shopify_customer_id"])
    hildegard["lots"][1] |= {"id": f"birthday of {hildegard['first_name']}", "source": hildegard["last_name"]}
    return await service.open_shop(a_shop(hildegard, a_customer(a_lot(500), first_name="Sam")))


def personal(customer_id: str) -> dict[str, str]:
    """Who Hildegard is. Every test has one of its own, as they share a database."""
    telling = {"email": f"h.{customer_id}@shopper.io", "phone": f"+44{customer_id}"}
    return telling | {"first_name": f"Hildegard{customer_id}", "last_name": f"Wintergreen{customer_id}"}


def words(shop: Shop) -> list[str]:
    return [*personal(shop.customers[0]).values()]


def email(shop: Shop) -> str:
    return personal(shop.customers[0])["email"]


def about(shop: Shop, **more: Any) -> Json:
    """How the privacy topics name Hildegard."""
    known_as = personal(shop.customers[0])
    customer = {"id": int(shop.customers[0]), "email": known_as["email"], "phone": known_as["phone"]}
    return {"shop_id": 954889, "shop_domain": shop.domain, "customer": customer, "orders_to_redact": [1], **more}


async def live(shop: Shop) -> None:
    """Leave traces: purchases, good and bad, under telling keys; a vendor's refusal that tells the address."""
    service = shop.service
    taken_back = (await shop.purchase()).json()["data"]["id"]
    assert (await shop.refund(taken_back, f"{personal(shop.customers[0])['first_name']} rang")).status_code == 200
    await service.end_of_refund(taken_back)
    await service.fault("klaviyo", kind="status", status=400, body={"error": f"{email(shop)} is no profile"})
    assert (await shop.purchase(key=f"{email(shop)}-1")).status_code == 201
    await until(lambda: _has(shop, "failed"))
    assert (await shop.purchase(customer=f"not.{email(shop)}", key="not-found")).status_code == 404
    assert (await shop.purchase(customer=personal(shop.customers[0])["phone"])).status_code == 404
    assert (await shop.purchase(reward="nope", customer=email(shop), key=f"{email(shop)}-2")).status_code == 404
    await shop.told("orders/create", an_order(await buy(shop)))
    await write_of(shop, f"{personal(shop.customers[0])['first_name']} asked for it")


async def write_of(shop: Shop, words: str) -> None:
    """What an operator may write as a reason, and a vendor as an error."""
    [first, *_] = await shop.redemptions()
    whose = {"shop_id": first.shop_id, "customer_id": first.customer_id}
    async with shop.service.store.begin() as session:
        session.add(ActivityLog(**whose, kind="points_adjusted", facts={"reason": words}))
        sent = (Delivery.redemption_id == first.id, Delivery.channel == "omnisend")
        await session.execute(update(Delivery).where(*sent).values(status="skipped", last_error=words))


async def _has(shop: Shop, status: str) -> bool:
    ids = [row.id for row in await shop.redemptions()]
    async with shop.service.store() as session:
        return status in set(await session.scalars(select(Delivery.status).where(Delivery.redemption_id.in_(ids))))


async def ledger(service: Service, shop: Shop) -> list[tuple[int, str]]:
    query = select(LedgerEntry.points, LedgerEntry.kind).where(LedgerEntry.customer_id.in_(shop.customers))
    async with service.store() as session:
        return [(points, kind) for points, kind in await session.execute(query.order_by(LedgerEntry.id))]


@pytest.mark.parametrize("topic", ["customers/redact", "customers/delete"])
async def test_an_erased_customer_is_in_no_table_and_the_ledger_is_as_it_was(
    service: Service, shop: Shop, topic: str
) -> None:
    await live(shop)
    before = await ledger(service, shop)
    traces = {
        "customers.email",
        "idempotency_keys.body",
        "activity_log.facts",
        "deliveries.last_error",
        "refunds.reason",
    }
    assert traces <= await found_in(service, *words(shop))

    await shop.told(topic, about(shop) if topic == "customers/redact" else {"id": int(shop.customers[0])})

    assert await found_in(service, *words(shop)) == set()
    assert await ledger(service, shop) == before
    assert await shop.balance() == 100
    assert await service.audit() == []
    assert await shop.balance(shop.customers[1]) == 500
    assert (await member(shop, 1)).first_name == "Sam"


async def test_an_erased_customer_buys_nothing_more_not_even_with_an_old_key(shop: Shop) -> None:
    assert (await shop.purchase(key="old")).status_code == 201

    await shop.told("customers/redact", about(shop))

    again = await shop.purchase(key="old")
    assert (again.status_code, again.json()["errors"][0]["code"]) == (403, "customer_excluded")
    assert await shop.balance() == 600


async def test_nothing_brings_an_erased_customer_back(service: Service, shop: Shop) -> None:
    await shop.told("customers/redact", about(shop))

    await shop.told("customers/update", a_profile(shop, personal(shop.customers[0])))
    row = await service.caller(shop.full_key)
    old_file = a_customer(a_lot(7), customer_id=shop.customers[0]) | personal(shop.customers[0])
    keys = [{"key": shop.full_key, "scope": "full"}, {"key": shop.read_key, "scope": "read_only"}]
    await service.open_shop(a_shop(old_file, domain=row.domain, api_keys=keys))
    update = await shop.send("PUT", f"/v1/customers/{shop.customers[0]}", {"is_excluded": False})

    assert (update.status_code, update.json()["errors"][0]["code"]) == (403, "customer_excluded")
    assert await found_in(service, *words(shop)) == set()
    assert await shop.balance() == 1100


async def test_what_has_not_been_announced_of_an_erased_customer_is_not(service: Service, shop: Shop) -> None:
    await service.fault("klaviyo", kind="down")
    await buy(shop)

    await shop.told("customers/redact", about(shop))
    await service.heal("klaviyo")

    [redemption] = await shop.redemptions()
    assert await service.end_of(redemption.id) == "COMPLETED"
    assert (await shop.deliveries())["klaviyo"] == "skipped"


async def test_nothing_more_of_an_erased_customer_is_told_to_the_shops_theme(service: Service, shop: Shop) -> None:
    await shop.adjust(5)
    assert await shop.untold() == {shop.customers[0]}

    await shop.told("customers/redact", about(shop))
    assert await shop.untold() == set()

    shop_id = (await service.caller(shop.full_key)).id
    async with service.store.begin() as session:
        await mark_stale(session, shop_id, shop.customers[0])
    assert await shop.untold() == set()


async def test_a_customer_who_is_named_by_address_alone_is_erased(service: Service, shop: Shop) -> None:
    await shop.told("customers/redact", about(shop, customer={"email": email(shop).upper()}))

    assert await found_in(service, *words(shop)) == set()


async def test_a_guest_is_erased_by_address(service: Service, shop: Shop) -> None:
    assert (await shop.purchase(customer="guest@elsewhere.io", key="a")).status_code == 404

    body = about(shop, customer={"id": None, "email": "Guest@Elsewhere.io", "phone": None})
    await shop.told("customers/redact", body)

    assert await found_in(service, "guest@elsewhere.io") == set()
    assert (await member(shop)).erased_at is None


@pytest.mark.parametrize("topic", ["customers/redact", "shop/redact"])
async def test_a_body_that_means_another_shop_erases_nobody(shop: Shop, topic: str) -> None:
    await shop.told(topic, about(shop, shop_domain="another.myshopify.com"))

    assert (await member(shop)).erased_at is None


@pytest.mark.recorded
async def test_a_shop_that_has_left_is_erased_some_customers_at_a_time(
    service: Service, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_topics, "ERASED_AT_A_TIME", 1)
    assert (await shop.purchase(key=f"{email(shop)}-1")).status_code == 201
    assert (await shop.purchase(customer=f"not.{email(shop)}")).status_code == 404
    before = await ledger(service, shop)
    row = await service.caller(shop.full_key)

    await shop.hear("shop/redact", {"shop_id": 954889, "shop_domain": shop.domain})
    await until(lambda: _is_empty(service, row.id))

    assert await found_in(service, *words(shop)) == set()
    assert (await shop.get(f"/v1/customers/{shop.customers[0]}")).status_code == 401
    assert await ledger(service, shop) == before
    assert await service.audit() == []


async def _is_empty(service: Service, shop_id: int) -> bool:
    query = select(func.count()).where(Customer.shop_id == shop_id, Customer.erased_at.is_(None))
    async with service.store() as session:
        return (await session.execute(query)).scalar_one() == 0


async def test_a_request_for_data_is_told_to_the_merchant(shop: Shop) -> None:
    await shop.told("customers/data_request", about(shop, data_request={"id": 9999}))

    [entry] = await shop.activity("customer_data_requested")
    assert (entry.customer_id, entry.facts) == (shop.customers[0], {"data_request_id": "9999"})


async def test_what_is_known_of_a_customer_is_told_in_full_and_of_nobody_else(
    settings: Settings, service: Service, shop: Shop
) -> None:
    await live(shop)

    command = [sys.executable, "-m", "cli", "customer-data", shop.domain, shop.customers[0]]
    environment = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "ENCRYPTION_KEYS": settings.encryption_keys[0].get_secret_value(),
    }
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()

    known = json.loads(told)
    assert process.returncode == 0
    assert personal(shop.customers[0]).items() <= known["customers"][0].items()
    assert [lot["points"] for lot in known["point_lots"]] == [1000, 100]
    assert {"redemptions", "discount_codes", "ledger_entries", "activity_log", "deliveries"} <= set(known)
    assert {row["customer_id"] for row in known["redemptions"]} == {shop.customers[0]}
    assert shop.customers[1] not in told.decode()
