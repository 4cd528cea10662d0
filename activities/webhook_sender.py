"""Send events to the webhook subscribers of a shop: one channel, many recipients."""

import asyncio
from datetime import datetime
from http import HTTPStatus

from cryptography.fernet import InvalidToken
from pydantic import SecretStr

from activities.senders import MAX_EVENT_AGE
from clients.outcomes import NotExecuted, Unknown
from clients.subscribers import Subscribers, WebhookRequest, webhook_body
from database import Sessions
from db import subscriptions, transactions
from db.deliveries import EventToSend, SendRule
from db.tables import WebhookDelivery, WebhookSubscription
from db.vault import Vault
from domain.events import EventKind
from domain.subscriptions import SENT_EVENTS, WebhookDeliveryStatus


class WebhookSender:
    """Sends to each subscriber until it accepts the event, independently of the others."""

    rule = SendRule(repeatable=True, max_age=MAX_EVENT_AGE)

    def __init__(self, sessions: Sessions, vault: Vault, subscribers: Subscribers) -> None:
        self._sessions = sessions
        self._vault = vault
        self._subscribers = subscribers

    async def send(self, event: EventToSend) -> None:
        """Send to the subscribers that have not accepted the event yet, in parallel.

        Raises:
            Unknown: a subscriber has not accepted it; to be retried.
        """
        async with self._sessions.begin() as session:
            unsent = await subscriptions.unsent_deliveries(session, event.shop_id, event.event)
            now = await transactions.now(session)
        body = webhook_body(event.domain, event.event)
        sends = [self._send(delivery, subscription, body, now) for delivery, subscription in unsent]
        if failures := [failure for failure in await asyncio.gather(*sends) if failure]:
            raise Unknown("webhooks", f"{len(failures)} of {len(unsent)} not sent: {'; '.join(failures[:5])}")

    async def _send(
        self, delivery: WebhookDelivery, subscription: WebhookSubscription, body: bytes, now: datetime
    ) -> str | None:
        """Send once and record the outcome. Returns why a retry is needed, else None."""
        try:
            status = await self._subscribers.send(subscription.url, self._request(delivery, subscription, body, now))
            reason = f"HTTP {status}"
        except (NotExecuted, Unknown) as error:
            status, reason = None, error.reason
        except InvalidToken:
            status, reason = None, "none of ENCRYPTION_KEYS decrypts its secret"
        outcome = _outcome(status)
        async with self._sessions.begin() as session:
            await subscriptions.record_attempt(session, delivery.id, status=outcome, http_status=status)
        return f"{subscription.id} {reason}" if outcome is WebhookDeliveryStatus.UNSENT else None

    def _request(
        self, delivery: WebhookDelivery, to: WebhookSubscription, body: bytes, now: datetime
    ) -> WebhookRequest:
        secret = SecretStr(self._vault.open_bytes(to.secret).decode())
        event = SENT_EVENTS[EventKind(delivery.event)]
        return WebhookRequest(id=delivery.id, event=event, body=body, secret=secret, sent_at=now)


def _outcome(status: int | None) -> WebhookDeliveryStatus:
    if status == HTTPStatus.GONE:
        return WebhookDeliveryStatus.REFUSED
    is_success = status is not None and 200 <= status < 300
    return WebhookDeliveryStatus.SENT if is_success else WebhookDeliveryStatus.UNSENT
