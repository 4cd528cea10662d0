"""Webhooks to a merchant's own systems, as one more channel: on the real Temporal server, over real sockets."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncGenerator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import WorkflowEnvironment

from db.tables import WebhookDelivery, WebhookSubscription
from settings import Settings
from tests.receiver import Received, Receiver, listening
from tests.service import Json, Service, Shop, a_customer, a_lot, a_shop, sealed_by_a_lost_key, until
from tests.workflows.test_redeem_reward import readable

SUBSCRIPTIONS = "/v1/webhook-subscriptions"


@pytest.fixture
async def service(settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment) -> AsyncGenerator[Service]:
    """A service whose subscribers may live on loopback."""
    settings = settings.model_copy(update={"webhook_allow_private_targets": True})
    async with Service.running(settings, engine, temporal.client) as service:
        yield service


@pytest.fixture
async def shop(service: Service) -> Shop:
    """A shop that announces nothing elsewhere."""
    return await service.open_shop(a_shop(a_customer(a_lot(1000)), vendors=["shopify"]))


async def subscribe(shop: Shop, receiver: Receiver, *events: str) -> Json:
    """Have it told; returns the subscription's id and attributes."""
    body = {"url": receiver.url, "events": list(events) or ["points.redeemed", "points.refunded"]}
    answer = await shop.send("POST", SUBSCRIPTIONS, body)
    assert answer.status_code == 201, answer.text
    data = answer.json()["data"]
    return {"id": data["id"], **data["attributes"]}


async def buy(shop: Shop) -> Json:
    """Redeem a reward and wait until everybody was told."""
    entry = (await shop.purchase()).json()["data"]
    assert await shop.service.end_of(entry["id"]) == "COMPLETED"
    return entry


async def deliveries(shop: Shop, redemption: str) -> dict[str, tuple[str, int, int | None]]:
    """Subscription → status, attempts and the last HTTP status."""
    query = select(WebhookDelivery).where(WebhookDelivery.redemption_id == redemption)
    async with shop.service.store() as session:
        rows = await session.scalars(query)
        return {row.subscription_id: (row.status, row.attempts, row.last_status) for row in rows}


def is_signed_by(secret: str, received: Received) -> bool:
    """What a merchant's code does to believe a webhook."""
    signed = received.headers["x-webhook-timestamp"] + "." + received.body.decode("utf-8")
    expected = hmac.new(bytes(secret, "utf-8"), bytes(signed, "utf-8"), hashlib.sha256).hexdigest()
    return received.headers["x-webhook-signature"] == "sha256=" + expected


async def test_a_subscriber_is_told_of_a_purchase_and_can_tell_from_whom(service: Service, shop: Shop) -> None:
    async with listening() as receiver:
        subscription = await subscribe(shop, receiver)

        entry = await buy(shop)

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
            "discount_code": entry["attributes"]["discount_code"],
        },
    }
    assert await shop.deliveries() == {"metafields": "sent", "webhooks": "sent"}
    assert await deliveries(shop, entry["id"]) == {subscription["id"]: ("sent", 1, 200)}


async def test_a_subscriber_is_told_of_a_refund(service: Service, shop: Shop) -> None:
    async with listening() as receiver:
        await subscribe(shop, receiver)
        entry = await buy(shop)

        assert (await shop.refund(entry["id"])).status_code == 200
        assert await service.end_of_refund(entry["id"]) == "COMPLETED"

    redeemed, refunded = receiver.received
    assert refunded.headers["x-webhook-event"] == refunded.content["event"] == "points.refunded"
    assert refunded.content["data"]["points_refunded"] == 500
    assert refunded.content["data"]["points_balance"] == 1000
    assert refunded.headers["x-webhook-id"] != redeemed.headers["x-webhook-id"]


async def test_only_what_was_subscribed_is_sent_and_nobody_else_hears_it(service: Service, shop: Shop) -> None:
    another_shop = await service.open_shop(a_shop(a_customer()))
    async with listening() as refunds_only, listening() as paused, listening() as deleted, listening() as stranger:
        await subscribe(shop, refunds_only, "points.refunded", "points.earned")
        pause, delete = await subscribe(shop, paused), await subscribe(shop, deleted)
        await subscribe(another_shop, stranger)
        await shop.send("PUT", f"{SUBSCRIPTIONS}/{pause['id']}", {"is_active": False})
        await shop.send("DELETE", f"{SUBSCRIPTIONS}/{delete['id']}", None)

        await buy(shop)

    assert [one.received for one in (refunds_only, paused, deleted, stranger)] == [[], [], [], []]
    assert await shop.deliveries() == {"metafields": "sent", "webhooks": "sent"}


async def test_a_shop_without_subscribers_has_no_such_channel(service: Service, shop: Shop) -> None:
    await buy(shop)

    assert await shop.deliveries() == {"metafields": "sent"}


async def test_a_subscriber_that_fails_is_told_again_with_the_same_id_and_body(service: Service, shop: Shop) -> None:
    async with listening(script=[500, 404, 302], extra="Location: /elsewhere\r\n") as receiver:
        subscription = await subscribe(shop, receiver)

        entry = await buy(shop)

    assert len(receiver.received) == 4
    assert len(set(receiver.ids)) == 1
    assert len({one.body for one in receiver.received}) == 1
    assert len({one.headers["x-webhook-timestamp"] for one in receiver.received}) == 4
    assert {one.line for one in receiver.received} == {"POST /hooks?shop=1 HTTP/1.1"}
    assert all(is_signed_by(subscription["secret"], one) for one in receiver.received)
    assert await deliveries(shop, entry["id"]) == {subscription["id"]: ("sent", 4, 200)}


async def test_one_that_is_down_does_not_make_the_other_hear_it_twice(service: Service, shop: Shop) -> None:
    async with listening() as healthy, listening(script=[503, 503]) as ill:
        await subscribe(shop, healthy)
        await subscribe(shop, ill)

        await buy(shop)

    assert len(healthy.received) == 1
    assert len(ill.received) == 3
    assert healthy.ids[0] != ill.ids[0]


async def test_a_slow_one_does_not_keep_the_others_waiting(service: Service, shop: Shop) -> None:
    async with listening(seconds=3) as slow, listening() as quick:
        await subscribe(shop, slow)
        await subscribe(shop, quick)
        entry = (await shop.purchase()).json()["data"]["id"]

        async def only_one_is_told() -> bool:
            return sorted(status for status, *_ in (await deliveries(shop, entry)).values()) == ["sent", "unsent"]

        await until(only_one_is_told, seconds=3)
        assert len(quick.received) == 1
        assert await service.end_of(entry) == "COMPLETED"


async def test_one_that_is_gone_is_given_up_and_the_others_are_told(service: Service, shop: Shop) -> None:
    async with listening(script=[410]) as gone, listening() as there:
        subscription = await subscribe(shop, gone)
        await subscribe(shop, there)

        entry = await buy(shop)

    assert (len(gone.received), len(there.received)) == (1, 1)
    assert (await deliveries(shop, entry["id"]))[subscription["id"]] == ("refused", 1, 410)
    assert (await shop.deliveries())["webhooks"] == "sent"


async def test_a_subscriber_that_is_down_for_long_hears_of_it_afterwards(
    service: Service, shop: Shop, temporal: WorkflowEnvironment, request: pytest.FixtureRequest
) -> None:
    outage = timedelta(hours=float(request.config.getoption("--outage-hours") or 0))
    async with listening() as receiver:
        await subscribe(shop, receiver)
        await receiver.close()
        entry = (await shop.purchase()).json()["data"]["id"]
        run = service.run_of(entry)
        began = (await run.describe()).start_time

        async def is_over() -> bool:
            return await temporal.get_current_time(run) - began > outage

        # A skip costs a second, and more on a busy machine.
        await until(is_over, seconds=60 + 240 * outage / timedelta(hours=1))
        await receiver.open()
        assert await service.end_of(entry) == "COMPLETED"

    assert len(receiver.received) == 1
    assert (await shop.deliveries())["webhooks"] == "sent"


async def test_one_who_leaves_or_pauses_while_it_is_down_is_not_waited_for(service: Service, shop: Shop) -> None:
    async with listening() as leaving, listening() as pausing:
        leaver, pauser = await subscribe(shop, leaving), await subscribe(shop, pausing)
        await asyncio.gather(leaving.close(), pausing.close())
        entry = (await shop.purchase()).json()["data"]["id"]

        async def both_were_tried() -> bool:
            return sum(attempts > 0 for _, attempts, _ in (await deliveries(shop, entry)).values()) == 2

        await until(both_were_tried)
        await shop.send("DELETE", f"{SUBSCRIPTIONS}/{leaver['id']}", None)
        await shop.send("PUT", f"{SUBSCRIPTIONS}/{pauser['id']}", {"is_active": False})
        assert await service.end_of(entry) == "COMPLETED"

    assert list(await deliveries(shop, entry)) == [pauser["id"]]


async def test_one_whose_secret_cannot_be_read_keeps_nobody_else_from_being_told(service: Service, shop: Shop) -> None:
    async with listening() as lost, listening() as sound:
        unreadable = await subscribe(shop, lost)
        await subscribe(shop, sound)
        async with service.store.begin() as session:
            secret = sealed_by_a_lost_key(secret=unreadable["secret"]).encode()
            rows = update(WebhookSubscription).where(WebhookSubscription.id == unreadable["id"])
            await session.execute(rows.values(secret=secret))
        entry = (await shop.purchase()).json()["data"]["id"]

        await until(lambda: _is_told(sound))
        await shop.send("POST", f"{SUBSCRIPTIONS}/{unreadable['id']}/rotate-secret", None)
        assert await service.end_of(entry) == "COMPLETED"

    assert (len(lost.received), len(sound.received)) == (1, 1)


async def _is_told(receiver: Receiver) -> bool:
    return len(receiver.received) > 0


async def test_from_its_rotation_on_the_new_secret_signs_even_what_was_tried_before(
    service: Service, shop: Shop
) -> None:
    async with listening() as receiver:
        old = await subscribe(shop, receiver)
        await receiver.close()
        entry = (await shop.purchase()).json()["data"]["id"]

        async def was_tried() -> bool:
            return any(attempts for _, attempts, _ in (await deliveries(shop, entry)).values())

        await until(was_tried)
        new = (await shop.send("POST", f"{SUBSCRIPTIONS}/{old['id']}/rotate-secret", None)).json()["data"]
        await receiver.open()
        assert await service.end_of(entry) == "COMPLETED"

    [received] = receiver.received
    assert is_signed_by(new["attributes"]["secret"], received)
    assert not is_signed_by(old["secret"], received)


async def test_the_history_tells_neither_addresses_nor_secrets(service: Service, shop: Shop) -> None:
    async with listening(script=[500]) as receiver:
        subscription = await subscribe(shop, receiver)
        entry = await buy(shop)

    text = readable(await service.run_of(entry["id"]).fetch_history())
    assert f"1 of 1 not told: {subscription['id']} HTTP 500" in text
    for secret in (subscription["secret"], receiver.url, "127.0.0.1", entry["attributes"]["discount_code"], "@shopper"):
        assert secret not in text
