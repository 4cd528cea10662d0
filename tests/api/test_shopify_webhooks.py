"""POST /webhooks/shopify"""

import time

import pytest

from tests.api.support import an_api, code_of
from tests.builders import Json
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_until

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
