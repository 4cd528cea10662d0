"""Deliveries that overlap, or whose shop has lost its credentials."""

import pytest

from activities.deliveries import Deliver, Deliveries, Sender
from activities.senders import EventSender
from clients.klaviyo import Klaviyo
from db.deliveries import EventToSend, SendRule
from db.vault import Vault
from domain.channels import Channel
from tests.builders import encrypt_with_lost_key
from tests.steps import Steps


class RecordingSender:
    rule = SendRule(repeatable=True, max_age=None)

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, event: EventToSend) -> None:
        self.sent += 1


async def deliver(steps: Steps, channel: Channel, sender: Sender, *, retry_failed: bool = False) -> tuple[str, str]:
    """Deliver; returns status and reason."""
    attempt = steps.first
    request = Deliver(
        shop_id=attempt.shop_id, redemption_id=attempt.redemption_id, channel=channel, retry_failed=retry_failed
    )
    outcome = await Deliveries(steps.service.store, {channel: sender}).deliver(request)
    return outcome.status, outcome.reason or ""


async def test_a_channel_added_after_the_capture_is_skipped(steps: Steps) -> None:
    await steps.capture()
    sender = RecordingSender()

    status, _ = await deliver(steps, Channel.OMNISEND, sender)

    assert (status, sender.sent) == ("skipped", 0)


async def test_a_sent_event_is_not_sent_again(steps: Steps) -> None:
    await steps.capture()
    sender = RecordingSender()

    assert [await deliver(steps, Channel.KLAVIYO, sender) for _ in range(2)] == [("sent", ""), ("sent", "")]

    assert sender.sent == 1


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [
        ({}, "the shop has no credentials"),
        (
            {"klaviyo": encrypt_with_lost_key(api_key="pk_lost")},
            "none of ENCRYPTION_KEYS decrypts the shop's credentials",
        ),
    ],
)
async def test_missing_credentials_fail_the_delivery(steps: Steps, credentials: dict[str, str], reason: str) -> None:
    await steps.capture()
    before = (await steps.shop.row()).credentials
    await steps.shop.set_credentials(**credentials)
    sender = klaviyo_sender(steps)

    assert await deliver(steps, Channel.KLAVIYO, sender) == ("failed", reason)

    await steps.shop.set_credentials(**before)
    assert await deliver(steps, Channel.KLAVIYO, sender, retry_failed=True) == ("sent", "")


def klaviyo_sender(steps: Steps) -> EventSender:
    settings = steps.service.settings
    client = Klaviyo(steps.service.worker_http, base_url=settings.klaviyo_url, revision=settings.klaviyo_revision)
    vault = Vault(settings.encryption_keys)
    return EventSender(vault, "klaviyo", client.send_event, repeatable=True)
