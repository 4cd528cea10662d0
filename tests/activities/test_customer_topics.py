"""Members arrive, change and leave by Shopify's webhooks, which come in any order and more than once."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count, permutations
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from activities.webhooks import ReceivedWebhook, Webhooks
from clients.shopify_webhooks import Topic, fits_topic
from db.tables import Customer
from db.vault import Vault
from db.webhooks import store_webhook
from tests.builders import Json, a_customer, a_lot, a_shop
from tests.service import Service
from tests.shop import Shop
from tests.workflows.webhook_bodies import a_profile, needs_samples, sample

DAY = timedelta(days=1)


async def open_shop(service: Service, **settings: Any) -> Shop:
    """A shop with Jane, who has 700 points, and Sam, who has 100."""
    return await service.open_shop(
        a_shop(a_customer(a_lot(700)), a_customer(a_lot(100), first_name="Sam", phone=None), **settings)
    )


async def process(shop: Shop, topic: Topic, body: Json) -> None:
    """Store a webhook as the API does, and process it."""
    assert fits_topic(topic, body)
    service, shop_id, webhook_id = shop.service, (await shop.row()).id, str(uuid4())
    vault = Vault(service.settings.encryption_keys)
    async with service.store.begin() as session:
        await store_webhook(
            session,
            shop_id=shop_id,
            webhook_id=webhook_id,
            topic=topic,
            payload=vault.seal_bytes(json.dumps(body).encode()),
            triggered_at=datetime.now(UTC),
        )
    received = ReceivedWebhook(shop_id=shop_id, shop_domain=shop.domain, webhook_id=webhook_id, topic=topic)
    assert await Webhooks(service.store, vault, kept_for=DAY, orders_kept_for=DAY).process_webhook(received)


async def member(shop: Shop, customer_id: str) -> Customer | None:
    async with shop.service.store() as session:
        return await session.get(Customer, ((await shop.row()).id, customer_id))


NEW = {"id": 4711, "updated_at": "2026-11-01T12:05:00Z", "email": "new@shopper.io", "first_name": "Ann"}


async def test_a_new_customer_is_enrolled_once(service: Service) -> None:
    shop = await open_shop(service, enroll_customers=True)

    for _ in range(2):
        await process(shop, Topic.CUSTOMER_CREATED, NEW)

    row = await member(shop, "4711")
    assert row is not None
    assert (row.email, row.first_name, row.points, row.excluded) == ("new@shopper.io", "Ann", 0, False)
    entries = (await shop.get("/v1/customers/4711/activity")).json()["data"]
    assert [(one["attributes"]["kind"], one["attributes"]["actor"]) for one in entries] == [
        ("customer_created", "Shopify")
    ]
    assert await service.audit() == []


async def test_a_late_creation_keeps_the_newer_profile(service: Service) -> None:
    shop = await open_shop(service, enroll_customers=True)
    await process(shop, Topic.CUSTOMER_UPDATED, a_profile(shop, {"first_name": "Newer"}, minute=9))

    await process(shop, Topic.CUSTOMER_CREATED, a_profile(shop, {"first_name": "Older"}, minute=1))

    row = await member(shop, shop.customers[0])
    assert row is not None
    assert (row.first_name, row.points) == ("Newer", 700)


async def test_no_customer_is_enrolled_unless_the_shop_says_so(service: Service) -> None:
    shop = await open_shop(service)

    await process(shop, Topic.CUSTOMER_CREATED, NEW)

    assert await member(shop, "4711") is None


def the_end(shop: Shop, how: str, customer: int, survivor: int) -> list[tuple[Topic, Json]]:
    """What Shopify sends when a customer is gone."""
    gid = "gid://shopify/Customer/"
    ids = {
        f"admin_graphql_api_customer_{name}_id": f"{gid}{one}"
        for name, one in (("deleted", customer), ("kept", survivor))
    }
    deleted = (Topic.CUSTOMER_DELETED, {"id": customer})
    redacted = (Topic.CUSTOMER_REDACTED, {"shop_domain": shop.domain, "customer": {"id": customer}})
    merged = (Topic.CUSTOMERS_MERGED, {**ids, "status": "completed"})
    ends: dict[str, list[tuple[Topic, Json]]] = {
        "deleted": [deleted],
        "redacted": [redacted],
        "merged": [merged, deleted],
    }
    return ends[how]


@pytest.mark.parametrize("how", ["deleted", "redacted", "merged"])
async def test_a_late_creation_brings_nobody_back(without_temporal: Service, how: str) -> None:
    shop = await open_shop(without_temporal, enroll_customers=True)
    ids = count(4711)
    # Customer by customer, the same webhooks in another order.
    for order in permutations(range(2 + len(the_end(shop, how, 0, 0)))):
        customer, survivor = next(ids), next(ids)
        profile = {**NEW, "id": customer, "email": f"{customer}@shopper.io"}
        webhooks = [
            (Topic.CUSTOMER_CREATED, profile),
            (Topic.CUSTOMER_UPDATED, {**profile, "updated_at": "2026-11-01T12:06:00Z"}),
            *the_end(shop, how, customer, survivor),
        ]
        for number in order:
            await process(shop, *webhooks[number])

        row = await member(shop, str(customer))
        assert row is not None
        merged_into = str(survivor) if how == "merged" else None
        assert (row.excluded, row.email, row.first_name, row.merged_into) == (True, None, None, merged_into), order
        kept = await member(shop, str(survivor))
        assert (kept is not None) is (how == "merged")

    async with without_temporal.store() as session:
        assert (await session.execute(select(func.count()).select_from(Customer))).scalar_one() == (
            await shop.row()
        ).customers
    assert await without_temporal.audit() == []


@pytest.mark.parametrize("how", ["deleted", "redacted", "merged"])
async def test_the_end_of_a_stranger_adds_nobody(without_temporal: Service, how: str) -> None:
    shop = await open_shop(without_temporal)

    for topic, body in the_end(shop, how, 4711, 4712):
        await process(shop, topic, body)

    assert [await member(shop, one) for one in ("4711", "4712")] == [None, None]


async def test_a_redacted_shop_enrols_nobody(without_temporal: Service) -> None:
    shop = await open_shop(without_temporal, enroll_customers=True)
    await process(shop, Topic.SHOP_REDACTED, {"shop_domain": shop.domain})

    await process(shop, Topic.CUSTOMER_CREATED, NEW)

    assert await member(shop, "4711") is None


@pytest.mark.parametrize(
    ("setting", "state", "excluded"),
    [(True, "disabled", True), (True, "enabled", False), (False, "disabled", False)],
)
async def test_a_disabled_account_is_excluded_if_the_shop_says_so(
    service: Service, *, setting: bool, state: str, excluded: bool
) -> None:
    shop = await open_shop(service, exclude_disabled_customers=setting)

    await process(shop, Topic.CUSTOMER_DISABLED, a_profile(shop, {"state": state}))

    row = await member(shop, shop.customers[0])
    assert row is not None
    assert (row.excluded, row.points) == (excluded, 700)


def an_account(shop: Shop, topic: Topic, *, minute: int) -> tuple[Topic, Json]:
    state = "disabled" if topic is Topic.CUSTOMER_DISABLED else "enabled"
    return topic, a_profile(shop, {"state": state}, minute=minute)


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_the_latest_state_of_an_account_counts(without_temporal: Service, order: tuple[int, ...]) -> None:
    shop = await open_shop(without_temporal, exclude_disabled_customers=True)
    disabled, enabled = Topic.CUSTOMER_DISABLED, Topic.CUSTOMER_ENABLED

    for topics in ((disabled, enabled, disabled), (enabled, disabled, enabled)):
        shop.customers.reverse()
        webhooks = [an_account(shop, topic, minute=minute) for minute, topic in enumerate(topics)]
        for number in order:
            await process(shop, *webhooks[number])

        row = await member(shop, shop.customers[0])
        assert row is not None
        assert row.excluded is (topics[-1] is disabled), topics


async def by_request(shop: Shop) -> None:
    answer = await shop.send("PUT", f"/v1/customers/{shop.customers[0]}", {"is_excluded": True})
    assert answer.is_success


async def by_bulk(shop: Shop) -> None:
    fields = {"shopify_customer_id": shop.customers[0], "excluded": True}
    answer = await shop.send("POST", "/v1/customers", fields, api_key=shop.admin_key)
    assert answer.is_success, answer.text


@pytest.mark.parametrize("exclude", [by_request, by_bulk])
@pytest.mark.parametrize("is_first", [True, False])
async def test_an_operators_exclusion_outlasts_the_accounts(
    without_temporal: Service, *, exclude: Callable[[Shop], Awaitable[None]], is_first: bool
) -> None:
    shop = await open_shop(without_temporal, exclude_disabled_customers=True)
    if is_first:
        await exclude(shop)
    await process(shop, *an_account(shop, Topic.CUSTOMER_DISABLED, minute=1))
    if not is_first:
        await exclude(shop)

    await process(shop, *an_account(shop, Topic.CUSTOMER_ENABLED, minute=2))

    row = await member(shop, shop.customers[0])
    assert row is not None
    assert row.excluded


async def test_both_changes_of_an_account_are_logged(without_temporal: Service) -> None:
    shop = await open_shop(without_temporal, exclude_disabled_customers=True)
    await process(shop, *an_account(shop, Topic.CUSTOMER_DISABLED, minute=1))

    await process(shop, *an_account(shop, Topic.CUSTOMER_ENABLED, minute=2))

    entries = (await shop.get(f"/v1/customers/{shop.customers[0]}/activity")).json()["data"]
    assert [(one["attributes"]["actor"], one["attributes"]["facts"]["excluded"]) for one in entries[:2]] == [
        ("Shopify", False),
        ("Shopify", True),
    ]


def a_merge(shop: Shop, **changes: Any) -> Json:
    """Jane is merged into Sam."""
    jane, sam = (f"gid://shopify/Customer/{customer}" for customer in shop.customers)
    ids = {"admin_graphql_api_customer_kept_id": sam, "admin_graphql_api_customer_deleted_id": jane}
    return {**ids, "admin_graphql_api_job_id": None, "status": "completed", "errors": [], **changes}


async def test_merged_customers_are_merged_here(service: Service) -> None:
    shop = await open_shop(service)

    for _ in range(2):
        await process(shop, Topic.CUSTOMERS_MERGED, a_merge(shop))
    # Shopify's events about the customer who is gone come before or after.
    await process(shop, Topic.CUSTOMER_UPDATED, a_profile(shop, {"email": "jane@shopper.io", "first_name": "Jane"}))
    await process(shop, Topic.CUSTOMER_DELETED, {"id": int(shop.customers[0])})

    jane, sam = [await member(shop, customer) for customer in shop.customers]
    assert jane is not None
    assert sam is not None
    assert (jane.points, jane.email, sam.points, sam.first_name) == (0, None, 800, "Sam")
    assert await service.audit() == []


async def test_points_of_an_erased_customer_are_moved_too(service: Service) -> None:
    shop = await open_shop(service)
    await process(shop, Topic.CUSTOMER_DELETED, {"id": int(shop.customers[0])})

    await process(shop, Topic.CUSTOMERS_MERGED, a_merge(shop))

    sam = await member(shop, shop.customers[1])
    assert sam is not None
    assert (sam.points, sam.excluded, sam.phone) == (800, False, None)


@needs_samples
async def test_a_failed_merge_moves_nothing(service: Service) -> None:
    shop = await open_shop(service)
    ids = {name: value for name, value in a_merge(shop).items() if name.endswith("_id")}

    await process(shop, Topic.CUSTOMERS_MERGED, sample("customers/merge", **ids))

    assert [await shop.balance(customer) for customer in shop.customers] == [700, 100]
