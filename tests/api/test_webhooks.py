"""POST /webhooks/shopify at the door: who is believed, what is kept, and how soon it is answered."""

import time
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from api.app import create_app
from db.tables import ShopifyWebhook
from tests.builders import a_customer, a_lot, a_shop
from tests.service import Service, in_process
from tests.shop import Shop
from tests.waiting import wait_until

DELETED: dict[str, Any] = {"id": 1, "tax_exemptions": []}


@pytest.fixture
async def shop(service: Service) -> Shop:
    return await service.open_shop(a_shop(a_customer(a_lot(500))))


async def kept(service: Service, webhook_id: str) -> int:
    query = select(func.count()).where(ShopifyWebhook.id == webhook_id)
    async with service.store() as session:
        return (await session.execute(query)).scalar_one()


@pytest.mark.parametrize("secret", [0, 1], ids=["new", "old"])
async def test_the_new_and_the_old_secret_are_believed(shop: Shop, secret: int) -> None:
    answer = await shop.send_webhook("customers/delete", DELETED, signed_by=secret)

    assert (answer.status_code, answer.json()) == (200, {"status": "accepted"})
    await wait_until(shop.has_processed_webhooks)


@pytest.mark.parametrize("signature", ["", "bm90IGl0", "💥"])
async def test_what_is_not_signed_is_refused_and_not_kept(shop: Shop, signature: str) -> None:
    answer = await shop.send_webhook("customers/delete", DELETED, headers={"X-Shopify-Hmac-Sha256": signature})

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (401, "unauthorized")
    assert await shop.webhooks() == []


async def test_a_signature_is_over_every_byte(shop: Shop) -> None:
    signed = await shop.send_webhook("customers/delete", b'{"id": 1}')
    headers = {"X-Shopify-Hmac-Sha256": signed.request.headers["X-Shopify-Hmac-Sha256"]}

    answer = await shop.send_webhook("customers/delete", b'{"id": 2}', headers=headers)

    assert answer.status_code == 401


async def test_without_a_secret_nobody_is_believed(service: Service, shop: Shop) -> None:
    app = create_app(service.settings.model_copy(update={"shopify_webhook_secrets": ()}), service.temporal)
    async with app.router.lifespan_context(app), in_process(httpx.ASGITransport(app)) as api:
        answer = await shop.send_webhook("customers/delete", DELETED, api=api)

    assert answer.status_code == 401
    assert "SHOPIFY_WEBHOOK_SECRETS" in answer.json()["errors"][0]["detail"]


async def test_a_large_order_is_taken_and_a_huge_one_is_not(shop: Shop) -> None:
    order: dict[str, Any] = {"id": 1, "created_at": "2026-11-01T12:00:00Z", "discount_codes": []}

    large = await shop.send_webhook("orders/create", {**order, "note": "x" * 1_500_000})
    huge = await shop.send_webhook("orders/create", {**order, "note": "x" * 2_100_000})

    assert large.json() == {"status": "accepted"}
    assert (huge.status_code, huge.json()["errors"][0]["code"]) == (413, "payload_too_large")
    assert len(await shop.webhooks()) == 1
    await wait_until(shop.has_processed_webhooks)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff"])
async def test_what_is_no_json_object_is_refused(shop: Shop, body: bytes) -> None:
    answer = await shop.send_webhook("orders/create", body)

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "invalid_json")
    assert await shop.webhooks() == []


@pytest.mark.parametrize(
    "headers",
    [{"X-Shopify-Topic": "products/update"}, {"X-Shopify-Shop-Domain": "someone-else.myshopify.com"}],
    ids=["topic", "shop"],
)
async def test_what_means_nothing_here_is_answered_and_not_kept(
    service: Service, shop: Shop, headers: dict[str, str]
) -> None:
    answer = await shop.send_webhook("orders/create", {"id": 1}, webhook_id="nobodys", headers=headers)

    assert (answer.status_code, answer.json()) == (200, {"status": "ignored"})
    assert await kept(service, "nobodys") == 0


async def test_a_shop_is_known_in_any_case(shop: Shop) -> None:
    answer = await shop.send_webhook(
        "customers/delete", DELETED, headers={"X-Shopify-Shop-Domain": shop.domain.upper()}
    )

    assert answer.json() == {"status": "accepted"}
    await wait_until(shop.has_processed_webhooks)


async def test_a_webhook_without_an_id_is_refused(shop: Shop) -> None:
    answer = await shop.send_webhook("customers/delete", DELETED, headers={"X-Shopify-Webhook-Id": ""})

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "invalid_request")


async def test_while_the_engine_is_away_webhooks_are_kept_unread_and_answered_at_once(
    service: Service, shop: Shop
) -> None:
    app = create_app(service.settings.model_copy(update={"temporal_address": "127.0.0.1:1"}))
    async with app.router.lifespan_context(app), in_process(httpx.ASGITransport(app)) as api:
        began = time.monotonic()
        answer = await shop.send_webhook("customers/update", {"id": 1, "email": "jane@shopper.io"}, api=api)
        took = time.monotonic() - began

    assert (answer.status_code, answer.json()) == (200, {"status": "accepted"})
    assert took < 2, "a second, and another for a busy machine"
    [webhook] = await shop.webhooks()
    assert webhook.payload is not None
    assert b"jane" not in webhook.payload


async def test_the_openapi_describes_the_webhooks(service: Service) -> None:
    document = (await service.api.get("/openapi.json")).json()

    operation = document["paths"]["/webhooks/shopify"]["post"]
    assert set(operation["responses"]) == {"200", "400", "401", "413", "500", "503"}
    assert {one["name"] for one in operation["parameters"] if one["required"]} == {
        *("X-Shopify-Topic", "X-Shopify-Shop-Domain", "X-Shopify-Webhook-Id"),
    }
    assert "security" not in operation
