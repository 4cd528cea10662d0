"""Webhooks to subscribers, as one more channel: on a real Temporal server and over real sockets."""

import asyncio
import hashlib
import hmac
from uuid import UUID

import pytest
from sqlalchemy import select, update

from db.tables import WebhookDelivery, WebhookSubscription
from settings import Settings
from tests.builders import Json, a_customer, a_lot, a_reward, a_shop, encrypt_with_lost_key
from tests.receiver import Received, Receiver, listening
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_for
from tests.workflows.conftest import Outage
from tests.workflows.replay import readable
from tests.workflows.webhook_bodies import an_order

SUBSCRIPTIONS = "/v1/webhook-subscriptions"


@pytest.fixture(scope="session")
def settings(settings: Settings) -> Settings:
    """Settings that allow subscribers on loopback."""
    return settings.model_copy(update={"webhook_allow_private_targets": True})


@pytest.fixture
async def shop(service: Service) -> Shop:
    """A shop without marketing vendors. Its customer can purchase twice."""
    return await service.open_shop(a_shop(a_customer(a_lot(1000)), vendors=["shopify"]))


async def subscribe(shop: Shop, receiver: Receiver, *events: str) -> Json:
    """Create a subscription; returns its id, path and attributes."""
    body = {"url": receiver.url, "events": list(events) or ["points.redeemed", "points.refunded"]}
    answer = await shop.send("POST", SUBSCRIPTIONS, body)
    assert answer.status_code == 201, answer.text
    data = answer.json()["data"]
    return {"id": data["id"], "path": f"{SUBSCRIPTIONS}/{data['id']}", **data["attributes"]}


async def rotate_secret(shop: Shop, subscription: Json) -> str:
    """Rotate the secret; returns the new one."""
    answer = await shop.send("POST", f"{subscription['path']}/rotate-secret", None)
    return answer.json()["data"]["attributes"]["secret"]


async def purchase(shop: Shop) -> str:
    """Purchase without waiting for deliveries."""
    return (await shop.purchase()).json()["data"]["id"]


async def deliveries(shop: Shop) -> dict[str, tuple[str, int, int | None]]:
    """Subscription → status, attempts and the last HTTP status."""
    async with shop.service.store() as session:
        rows = await session.scalars(select(WebhookDelivery))
        return {row.subscription_id: (row.status, row.attempts, row.last_status) for row in rows}


async def wait_for_attempts(shop: Shop, subscribers: int) -> None:
    """Wait until the event was sent to so many subscribers."""

    async def made() -> int:
        return sum(attempts > 0 for _, attempts, _ in (await deliveries(shop)).values())

    await wait_for(made, subscribers)


def is_signed_by(secret: str, received: Received) -> bool:
    """Verify the signature, as documented for merchants."""
    signed = received.headers["x-webhook-timestamp"] + "." + received.body.decode("utf-8")
    expected = hmac.new(bytes(secret, "utf-8"), bytes(signed, "utf-8"), hashlib.sha256).hexdigest()
    return received.headers["x-webhook-signature"] == "sha256=" + expected


async def test_a_subscriber_gets_a_signed_purchase(shop: Shop) -> None:
    async with listening() as receiver:
        subscription = await subscribe(shop, receiver)

        await shop.buy()

    [received] = receiver.received
    [redemption] = await shop.redemptions()
    assert redemption.captured_at is not None
    assert received.line == "POST /hooks?shop=1 HTTP/1.1"
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"] == "Pointsaga-Webhook/1.0"
    assert received.headers["x-webhook-event"] == "points.redeemed"
    assert UUID(received.headers["x-webhook-id"])
    assert is_signed_by(subscription["secret"], received)
    [discount] = await shop.discounts("live")
    assert received.content == {
        "event": "points.redeemed",
        "shop": shop.domain.removesuffix(".myshopify.com"),
        "timestamp": redemption.captured_at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "data": {
            "shopify_customer_id": shop.customers[0],
            "email": f"jane.{shop.customers[0]}@shopper.io",
            "points_redeemed": 500,
            "points_balance": 500,
            "reward_name": "£5 off your next order",
            "reward_id": "reward_abc",
            "discount_code": discount["code"],
        },
    }
    assert await shop.deliveries() == {"metafields": "sent", "webhooks": "sent"}
    assert await deliveries(shop) == {subscription["id"]: ("sent", 1, 200)}


async def test_a_subscriber_gets_a_refund(service: Service, shop: Shop) -> None:
    async with listening() as receiver:
        await subscribe(shop, receiver)
        redemption = await shop.buy()

        assert (await shop.refund(redemption)).status_code == 200
        assert await service.wait_for_refund(redemption) == "COMPLETED"

    redeemed, refunded = receiver.received
    assert refunded.headers["x-webhook-event"] == refunded.content["event"] == "points.refunded"
    assert refunded.content["data"]["points_refunded"] == 500
    assert refunded.content["data"]["points_balance"] == 1000
    assert refunded.headers["x-webhook-id"] != redeemed.headers["x-webhook-id"]


async def test_only_active_subscribers_of_the_event_get_it(service: Service, shop: Shop) -> None:
    another_shop = await service.open_shop(a_shop(a_customer()))
    async with listening() as refunds_only, listening() as paused, listening() as deleted, listening() as other:
        await subscribe(shop, refunds_only, "points.refunded", "points.earned")
        await shop.send("PUT", (await subscribe(shop, paused))["path"], {"is_active": False})
        await shop.send("DELETE", (await subscribe(shop, deleted))["path"], None)
        await subscribe(another_shop, other)

        await shop.buy()

    assert [one.received for one in (refunds_only, paused, deleted, other)] == [[], [], [], []]
    assert await shop.deliveries() == {"metafields": "sent", "webhooks": "sent"}


async def test_without_subscribers_there_is_no_channel(shop: Shop) -> None:
    await shop.buy()

    assert await shop.deliveries() == {"metafields": "sent"}


async def test_retries_have_the_same_id_and_body(shop: Shop) -> None:
    # Slow enough that each retry has another timestamp, whose unit is a second.
    async with listening(script=[500, 404, 302], seconds=1.1, extra="Location: /elsewhere\r\n") as receiver:
        subscription = await subscribe(shop, receiver)

        await shop.buy()

    assert len(receiver.received) == 4
    assert len(set(receiver.ids)) == 1
    assert len({one.body for one in receiver.received}) == 1
    assert len({one.headers["x-webhook-timestamp"] for one in receiver.received}) == 4
    assert {one.line for one in receiver.received} == {"POST /hooks?shop=1 HTTP/1.1"}
    assert all(is_signed_by(subscription["secret"], one) for one in receiver.received)
    assert await deliveries(shop) == {subscription["id"]: ("sent", 4, 200)}


async def test_a_retry_is_sent_only_to_the_failed_subscriber(shop: Shop) -> None:
    async with listening() as healthy, listening(script=[503, 503]) as failing:
        await subscribe(shop, healthy)
        await subscribe(shop, failing)

        await shop.buy()

    assert len(healthy.received) == 1
    assert len(failing.received) == 3
    assert healthy.ids[0] != failing.ids[0]


async def test_a_slow_subscriber_does_not_delay_others(service: Service, shop: Shop) -> None:
    async with listening(seconds=3) as slow, listening() as quick:
        to_slow = await subscribe(shop, slow)
        await subscribe(shop, quick)
        redemption = await purchase(shop)

        await wait_for_attempts(shop, 1)
        assert (await deliveries(shop))[to_slow["id"]][0] == "unsent"
        assert len(quick.received) == 1
        assert await service.wait_for_purchase(redemption) == "COMPLETED"


async def test_a_gone_subscriber_is_not_retried(shop: Shop) -> None:
    async with listening(script=[410]) as gone, listening() as present:
        subscription = await subscribe(shop, gone)
        await subscribe(shop, present)

        await shop.buy()

    assert (len(gone.received), len(present.received)) == (1, 1)
    assert (await deliveries(shop))[subscription["id"]] == ("refused", 1, 410)
    assert (await shop.deliveries())["webhooks"] == "sent"


async def test_a_subscriber_gets_the_event_after_an_outage(service: Service, shop: Shop, outage: Outage) -> None:
    async with listening() as receiver:
        await subscribe(shop, receiver)
        await receiver.close()
        redemption = await purchase(shop)
        await outage(service.purchase_workflow(redemption))
        await receiver.open()
        assert await service.wait_for_purchase(redemption) == "COMPLETED"

    assert len(receiver.received) == 1
    assert (await shop.deliveries())["webhooks"] == "sent"


async def test_deleted_and_paused_subscriptions_end_the_retries(service: Service, shop: Shop) -> None:
    async with listening() as deleted, listening() as paused:
        to_delete, to_pause = await subscribe(shop, deleted), await subscribe(shop, paused)
        await asyncio.gather(deleted.close(), paused.close())
        redemption = await purchase(shop)
        await wait_for_attempts(shop, 2)
        await shop.send("DELETE", to_delete["path"], None)
        await shop.send("PUT", to_pause["path"], {"is_active": False})
        assert await service.wait_for_purchase(redemption) == "COMPLETED"

    assert list(await deliveries(shop)) == [to_pause["id"]]


async def test_an_unreadable_secret_does_not_affect_others(service: Service, shop: Shop) -> None:
    async with listening() as unreadable, listening() as sound:
        subscription = await subscribe(shop, unreadable)
        await subscribe(shop, sound)
        async with service.store.begin() as session:
            secret = encrypt_with_lost_key(secret=subscription["secret"]).encode()
            rows = update(WebhookSubscription).where(WebhookSubscription.id == subscription["id"])
            await session.execute(rows.values(secret=secret))
        redemption = await purchase(shop)

        await wait_for_attempts(shop, 2)
        await rotate_secret(shop, subscription)
        assert await service.wait_for_purchase(redemption) == "COMPLETED"

    assert (len(unreadable.received), len(sound.received)) == (1, 1)


async def test_retries_are_signed_with_the_new_secret(service: Service, shop: Shop) -> None:
    async with listening() as receiver:
        subscription = await subscribe(shop, receiver)
        await receiver.close()
        redemption = await purchase(shop)
        await wait_for_attempts(shop, 1)
        secret = await rotate_secret(shop, subscription)
        await receiver.open()
        assert await service.wait_for_purchase(redemption) == "COMPLETED"

    [received] = receiver.received
    assert is_signed_by(secret, received)
    assert not is_signed_by(subscription["secret"], received)


async def test_the_history_contains_no_address_and_no_secret(service: Service, shop: Shop) -> None:
    async with listening(script=[500]) as receiver:
        subscription = await subscribe(shop, receiver)
        redemption = await shop.buy()

    [discount] = await shop.discounts("live")
    history = await service.purchase_workflow(redemption).fetch_history()
    text = await readable(history, service.temporal.data_converter)
    assert f"1 of 1 not sent: {subscription['id']} HTTP 500" in text
    for secret in (subscription["secret"], receiver.url, "127.0.0.1", discount["code"], "@shopper"):
        assert secret not in text


async def test_subscribers_get_the_reissued_code(service: Service) -> None:
    reward = a_reward(on_order_cancelled="reissue")
    shop = await service.open_shop(a_shop(a_customer(a_lot(500)), rewards=[reward], vendors=["shopify"]))
    async with listening() as receiver:
        await subscribe(shop, receiver, "points.reissued")
        code = (await shop.purchase()).json()["data"]["attributes"]["discount_code"]
        order = an_order(code)
        await shop.process_webhook("orders/cancelled", {**order, "cancelled_at": order["created_at"]})
        await wait_for(lambda: _number_of(receiver), 1)

    [received] = receiver.received
    [redemption] = (await shop.get(f"/v1/customers/{shop.customers[0]}/reward-history")).json()["data"]
    data = received.content["data"]
    assert (received.content["event"], data["points_redeemed"]) == ("points.reissued", 500)
    assert data["discount_code"] == redemption["attributes"]["discount_code"] != code


async def _number_of(receiver: Receiver) -> int:
    return len(receiver.received)
