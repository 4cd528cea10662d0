"""Deliveries, when runs overlap, and when a shop's credentials go under them."""

import pytest

from activities.deliveries import Deliver, Deliveries
from activities.senders import EventSender
from clients.klaviyo import Klaviyo
from db.vault import Vault
from domain.channels import Channel
from domain.events import EventKind
from tests.activities.conftest import Steps
from tests.service import Service, sealed_by_a_lost_key


class _Sender:
    repeatable = True
    oldest = None

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, shop_id: int, redemption_id: str, event: EventKind) -> None:
        self.sent += 1


async def test_a_channel_that_the_captured_purchase_did_not_have_is_skipped(service: Service, steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.discounts.generate_discount_code(steps.first)
    deliveries = Deliveries(service.store, {Channel.OMNISEND: (sender := _Sender())})
    attempt = steps.first
    order = Deliver(shop_id=attempt.shop_id, redemption_id=attempt.redemption_id, channel=Channel.OMNISEND)

    assert (await deliveries.deliver(order)).status == "skipped"

    assert sender.sent == 0


async def test_news_that_was_sent_is_not_sent_again(service: Service, steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.discounts.generate_discount_code(steps.first)
    deliveries = Deliveries(service.store, {Channel.KLAVIYO: (sender := _Sender())})
    attempt = steps.first
    order = Deliver(shop_id=attempt.shop_id, redemption_id=attempt.redemption_id, channel=Channel.KLAVIYO)

    assert [(await deliveries.deliver(order)).status for _ in range(2)] == ["sent", "sent"]

    assert sender.sent == 1


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        ({}, "the shop has no credentials for it any more"),
        ({"klaviyo": sealed_by_a_lost_key(api_key="pk_lost")}, "none of ENCRYPTION_KEYS opens the shop's credentials"),
    ],
)
async def test_credentials_that_are_gone_when_it_is_sent_end_the_delivery_until_they_are_back(
    service: Service, steps: Steps, left: dict[str, str], reason: str
) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.discounts.generate_discount_code(steps.first)
    before = (await service.caller(steps.shop.full_key)).credentials
    await steps.shop.keep_credentials(**left)
    deliveries = Deliveries(service.store, {Channel.KLAVIYO: klaviyo(service)})
    attempt = steps.first
    order = Deliver(shop_id=attempt.shop_id, redemption_id=attempt.redemption_id, channel=Channel.KLAVIYO)

    outcome = await deliveries.deliver(order)

    assert (outcome.status, outcome.reason) == ("failed", reason)
    await steps.shop.keep_credentials(**before)
    assert (await deliveries.deliver(order.model_copy(update={"again": True}))).status == "sent"


def klaviyo(service: Service) -> EventSender:
    settings = service.settings
    client = Klaviyo(service.worker_http, base_url=settings.klaviyo_url, revision=settings.klaviyo_revision)
    return EventSender(service.store, Vault(settings.encryption_keys), "klaviyo", client.send_event, repeatable=True)
