"""POST /webhooks/shopify"""

import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from clients.shopify_webhooks import Topic, fits_topic
from db import tables
from db.vault import Vault
from tests.api.support import an_api, code_of
from tests.builders import Json, a_customer, a_shop
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_until
from tests.workflows.webhook_bodies import needs_samples, sample

DELETED: Json = {"id": 1, "tax_exemptions": []}


@pytest.mark.parametrize("secret", [0, 1], ids=["new", "old"])
async def test_both_secrets_are_accepted(shop: Shop, secret: int) -> None:
    answer = await shop.send_webhook("customers/delete", DELETED, signed_by=secret)

    assert (answer.status_code, answer.json()) == (200, {"status": "accepted"})
    await wait_until(shop.has_processed_webhooks)


@pytest.mark.parametrize("signature", ["", "bm90IGl0", "💥"])
async def test_an_unsigned_webhook_is_not_stored(shop: Shop, signature: str) -> None:
    answer = await shop.send_webhook("customers/delete", DELETED, headers={"X-Shopify-Hmac-Sha256": signature})

    assert code_of(answer) == (401, "unauthorized")
    assert await shop.webhooks() == []


async def test_a_changed_body_is_refused(shop: Shop) -> None:
    signed = await shop.send_webhook("customers/delete", b'{"id": 1}')
    headers = {"X-Shopify-Hmac-Sha256": signed.request.headers["X-Shopify-Hmac-Sha256"]}

    answer = await shop.send_webhook("customers/delete", b'{"id": 2}', headers=headers)

    assert answer.status_code == 401


async def test_without_a_secret_webhooks_are_refused(service: Service, shop: Shop) -> None:
    async with an_api(service.settings, service.temporal, shopify_webhook_secrets=()) as api:
        answer = await shop.send_webhook("customers/delete", DELETED, api=api)

    assert answer.status_code == 401
    assert "SHOPIFY_WEBHOOK_SECRETS" in answer.json()["errors"][0]["detail"]


async def test_a_webhook_has_at_most_two_megabytes(shop: Shop) -> None:
    order: Json = {"id": 1, "created_at": "2026-11-01T12:00:00Z", "discount_codes": []}

    large = await shop.send_webhook("orders/create", {**order, "note": "x" * 1_500_000})
    huge = await shop.send_webhook("orders/create", {**order, "note": "x" * 2_100_000})

    assert large.json() == {"status": "accepted"}
    assert code_of(huge) == (413, "payload_too_large")
    assert len(await shop.webhooks()) == 1
    await wait_until(shop.has_processed_webhooks)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff"])
async def test_other_bodies_than_objects_are_refused(shop: Shop, body: bytes) -> None:
    answer = await shop.send_webhook("orders/create", body)

    assert code_of(answer) == (400, "invalid_json")
    assert await shop.webhooks() == []


@pytest.mark.parametrize(
    "headers",
    [{"X-Shopify-Topic": "products/update"}, {"X-Shopify-Shop-Domain": "other.myshopify.com"}],
    ids=["topic", "shop"],
)
async def test_other_topics_and_shops_are_ignored(shop: Shop, headers: dict[str, str]) -> None:
    answer = await shop.send_webhook("orders/create", {"id": 1}, headers=headers)

    assert (answer.status_code, answer.json()) == (200, {"status": "ignored"})
    assert await shop.webhooks() == []


async def test_shop_domains_match_in_any_case(shop: Shop) -> None:
    answer = await shop.send_webhook(
        "customers/delete", DELETED, headers={"X-Shopify-Shop-Domain": shop.domain.upper()}
    )

    assert answer.json() == {"status": "accepted"}
    await wait_until(shop.has_processed_webhooks)


async def test_a_webhook_without_an_id_is_refused(shop: Shop) -> None:
    answer = await shop.send_webhook("customers/delete", DELETED, headers={"X-Shopify-Webhook-Id": ""})

    assert code_of(answer) == (400, "invalid_request")


async def test_webhooks_are_stored_encrypted_while_temporal_is_down(service: Service, shop: Shop) -> None:
    async with an_api(service.settings, temporal_address="127.0.0.1:1") as api:
        began = time.monotonic()
        answer = await shop.send_webhook("customers/update", {"id": 1, "email": "jane@shopper.io"}, api=api)
        took = time.monotonic() - began

    assert (answer.status_code, answer.json()) == (200, {"status": "accepted"})
    assert took < 2, "one second, and one more for a busy machine"
    [webhook] = await shop.webhooks()
    assert webhook.payload is not None
    assert b"jane" not in webhook.payload


OWN = "the-secret-of-this-shop"
APP = 0
"""Number of a secret in the settings."""


def with_secret(*customers: Json, secret: str | list[str] | None) -> Json:
    """A shop that has webhook secrets of its own."""
    return a_shop(*customers, shopify={"access_token": "shpat_own", "webhook_secret": secret})


async def test_a_shops_own_secret_replaces_the_apps(service: Service) -> None:
    shop = await service.open_shop(with_secret(a_customer(), secret=OWN))

    signed_by_app = await shop.send_webhook("customers/delete", DELETED, signed_by=APP)
    signed_by_shop = await shop.send_webhook("customers/delete", DELETED, signed_by=OWN)

    assert code_of(signed_by_app) == (401, "unauthorized")
    assert signed_by_shop.json() == {"status": "accepted"}
    await wait_until(shop.has_processed_webhooks)


async def test_a_shops_secret_signs_nothing_for_another_shop(service: Service, shop: Shop) -> None:
    await service.open_shop(with_secret(secret=OWN))
    victim: Json = {"id": int(shop.customers[0]), "tax_exemptions": []}

    answer = await shop.send_webhook("customers/delete", victim, signed_by=OWN)

    assert code_of(answer) == (401, "unauthorized")
    assert (await shop.customer())["first_name"] == "Jane"


async def test_two_secrets_are_accepted_during_a_rotation(service: Service) -> None:
    shop = await service.open_shop(with_secret(secret=["new-secret", "old-secret"]))

    answers = [
        await shop.send_webhook("customers/delete", DELETED, signed_by=one) for one in ("new-secret", "old-secret")
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    await wait_until(shop.has_processed_webhooks)


async def test_a_file_without_the_secret_keeps_it(service: Service) -> None:
    imported = with_secret(secret=OWN)
    shop = await service.open_shop(imported)

    await service.import_shop({**imported, "shopify": {"access_token": "shpat_own"}})
    kept = await shop.send_webhook("customers/delete", DELETED, signed_by=APP)
    await service.import_shop({**imported, "shopify": {"access_token": "shpat_own", "webhook_secret": None}})
    removed = await shop.send_webhook("customers/delete", DELETED, signed_by=APP)

    assert (kept.status_code, removed.status_code) == (401, 200)
    await wait_until(shop.has_processed_webhooks)


async def test_an_uninstalled_shop_keeps_its_webhook_secret(service: Service) -> None:
    shop = await service.open_shop(with_secret(secret=OWN))
    await shop.process_webhook("app/uninstalled", {"id": 1}, signed_by=OWN)

    redaction = {"shop_id": 1, "shop_domain": shop.domain}
    forged = await shop.send_webhook("shop/redact", redaction, signed_by=APP)
    await shop.process_webhook("shop/redact", redaction, signed_by=OWN)
    later = await shop.send_webhook("shop/redact", redaction, signed_by=APP)

    assert (forged.status_code, later.status_code) == (401, 401)


async def test_an_unreadable_secret_is_answered_503_until_the_key_is_back(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = await service.open_shop(with_secret(a_customer(), secret=OWN))
    lost = Fernet.generate_key().decode()
    changed = an_api(service.settings, service.temporal, encryption_keys=(SecretStr(lost),))
    async with changed as api:
        answer = await shop.send_webhook("customers/delete", DELETED, signed_by=OWN, api=api)

    assert code_of(answer) == (503, "engine_unavailable")
    [line] = capsys.readouterr().err.splitlines()
    assert "none of ENCRYPTION_KEYS decrypts the secret of its shop" in line
    assert shop.domain in line
    assert await shop.webhooks() == []
    assert (await shop.send_webhook("customers/delete", DELETED, signed_by=OWN)).status_code == 200
    await wait_until(shop.has_processed_webhooks)


async def test_a_readable_secret_of_two_is_enough(service: Service) -> None:
    shop = await service.open_shop(with_secret(a_customer(), secret=OWN))
    lost = Vault([SecretStr(Fernet.generate_key().decode())]).seal_text(SecretStr("old"))
    async with service.store.begin() as session:
        row = await session.get_one(tables.Shop, (await shop.row()).id)
        row.webhook_secrets = [lost, *row.webhook_secrets]

    signed = await shop.send_webhook("customers/delete", DELETED, signed_by=OWN)
    forged = await shop.send_webhook("customers/delete", DELETED, signed_by=APP)

    assert (signed.status_code, forged.status_code) == (200, 503)
    await wait_until(shop.has_processed_webhooks)


async def test_webhook_secrets_are_encrypted(service: Service) -> None:
    shop = await service.open_shop(with_secret(secret=OWN))

    assert OWN not in str((await shop.row()).webhook_secrets)


CUSTOMER = {"id": 1, "admin_graphql_api_id": "gid://shopify/Customer/1"}
ORDER: Json = {"id": 1, "created_at": "2026-11-01T12:00:00Z", "discount_codes": []}
PROFILE = {**CUSTOMER, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-11-01T12:00:00Z", "first_name": "Jo"}
PERSON: Json = {"id": 1, "email": "jane@shopper.io", "phone": None}
REDACTION: Json = {"shop_id": 1, "shop_domain": "a.myshopify.com", "customer": PERSON, "orders_to_redact": []}
REQUEST: Json = {"shop_id": 1, "shop_domain": "a.myshopify.com", "customer": PERSON, "data_request": {"id": 9}}
REPLAYED: dict[str, tuple[str, Json]] = {
    "an update as a deletion": ("customers/delete", PROFILE),
    "an order as a deletion": ("customers/delete", ORDER),
    "a product as a deletion": ("customers/delete", {"id": 1, "admin_graphql_api_id": "gid://shopify/Product/1"}),
    "a data request as a redaction": ("customers/redact", REQUEST),
    "a customer's redaction as the shop's": ("shop/redact", REDACTION),
    "an update as an uninstallation": ("app/uninstalled", PROFILE),
    "an order as an uninstallation": ("app/uninstalled", ORDER),
    "a redaction as an uninstallation": ("app/uninstalled", REDACTION),
    "a redaction as a data request": ("customers/data_request", REDACTION),
    "an order as its cancellation": ("orders/cancelled", {**ORDER, "cancelled_at": None}),
    "an order as an update": ("customers/update", {**PROFILE, "admin_graphql_api_id": "gid://shopify/Order/1"}),
}


@pytest.mark.parametrize(("topic", "body"), REPLAYED.values(), ids=REPLAYED)
async def test_a_body_of_another_topic_is_refused(shop: Shop, topic: str, body: Json) -> None:
    answer = await shop.send_webhook(topic, body)

    assert code_of(answer) == (400, "invalid_request")
    assert await shop.webhooks() == []


PRIVACY_TOPICS = {Topic.DATA_REQUESTED, Topic.CUSTOMER_REDACTED, Topic.SHOP_REDACTED}
"""Shopify publishes no samples of these."""


@needs_samples
@pytest.mark.parametrize("topic", sorted({*Topic} - PRIVACY_TOPICS))
def test_shopifys_sample_fits_its_topic_and_no_erasing_one(topic: Topic) -> None:
    body = sample(topic)

    assert fits_topic(topic, body)
    assert [one for one in Topic if one.erases and fits_topic(one, body) and one is not topic] == []


@pytest.mark.parametrize("triggered_at", [timedelta(hours=-49), None])
@pytest.mark.parametrize("topic", ["customers/delete", "customers/redact", "shop/redact"])
async def test_an_old_erasure_is_refused(shop: Shop, topic: str, triggered_at: timedelta | None) -> None:
    bodies = {"customers/redact": REDACTION, "shop/redact": {"shop_id": 1, "shop_domain": shop.domain}}
    sent = "" if triggered_at is None else (datetime.now(UTC) + triggered_at).isoformat()

    answer = await shop.send_webhook(topic, bodies.get(topic, DELETED), headers={"X-Shopify-Triggered-At": sent})

    assert code_of(answer) == (400, "invalid_request")
    assert await shop.webhooks() == []


async def test_an_erasure_of_yesterday_is_accepted(shop: Shop) -> None:
    at = (datetime.now(UTC) - timedelta(hours=47)).isoformat()

    answer = await shop.send_webhook("customers/delete", DELETED, headers={"X-Shopify-Triggered-At": at})

    assert answer.json() == {"status": "accepted"}
    await wait_until(shop.has_processed_webhooks)
