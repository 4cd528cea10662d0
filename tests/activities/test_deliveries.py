"""Deliveries, when runs overlap."""

from activities.deliveries import Deliver, Deliveries
from domain.channels import Channel
from domain.events import EventKind
from tests.activities.conftest import Steps
from tests.service import Service


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
