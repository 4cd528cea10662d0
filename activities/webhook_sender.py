"""Send events to the webhook subscribers of a shop: one channel, many recipients."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from cryptography.fernet import InvalidToken
from pydantic import SecretStr

from activities.credentials import addressed
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

# Sends of one event at the same time. All of a shop's subscribers get it within the time of one activity, even if
# each of them hangs.
FAN_OUT = 10


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """Why a subscriber has not accepted the event. `is_held`: the call was not made."""

    reason: str
    is_held: bool = False
    retry_after: timedelta | None = None


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
            Refused: the contact data cannot be decrypted.
            NotExecuted: the calls to all of them are held.
            Unknown: a subscriber has not accepted it; to be retried.
        """
        async with self._sessions.begin() as session:
            unsent = await subscriptions.unsent_deliveries(session, event.shop_id, event.event)
            now = await transactions.now(session)
        body = webhook_body(event.domain, addressed(self._vault, event, "webhooks"))
        turns = asyncio.Semaphore(FAN_OUT)

        async def send(delivery: WebhookDelivery, subscription: WebhookSubscription) -> _Failure | None:
            async with turns:
                return await self._send(delivery, subscription, body, now)

        if failures := [failure for failure in await asyncio.gather(*(send(*one) for one in unsent)) if failure]:
            raise _outcome_of(failures, f"{len(failures)} of {len(unsent)} not sent")

    async def _send(
        self, delivery: WebhookDelivery, subscription: WebhookSubscription, body: bytes, now: datetime
    ) -> _Failure | None:
        """Send once and record the outcome. Returns why a retry is needed, else None."""
        try:
            request = self._request(delivery, subscription, body, now)
            status = await self._subscribers.send(subscription.url, request, shop_id=subscription.shop_id)
            reason = f"HTTP {status}"
        except (NotExecuted, Unknown) as error:
            if isinstance(error, NotExecuted) and error.is_held:
                reason = f"{subscription.id} {error.reason}"
                return _Failure(reason=reason, is_held=True, retry_after=error.retry_after)
            status, reason = None, error.reason
        except InvalidToken:
            status, reason = None, "none of ENCRYPTION_KEYS decrypts its secret"
        outcome = _outcome(status)
        async with self._sessions.begin() as session:
            await subscriptions.record_attempt(session, delivery.id, status=outcome, http_status=status)
        is_unsent = outcome is WebhookDeliveryStatus.UNSENT
        return _Failure(reason=f"{subscription.id} {reason}") if is_unsent else None

    def _request(
        self, delivery: WebhookDelivery, to: WebhookSubscription, body: bytes, now: datetime
    ) -> WebhookRequest:
        secret = SecretStr(self._vault.open_bytes(to.secret).decode())
        event = SENT_EVENTS[EventKind(delivery.event)]
        return WebhookRequest(id=delivery.id, event=event, body=body, secret=secret, sent_at=now)


def _outcome_of(failures: Sequence[_Failure], summary: str) -> NotExecuted | Unknown:
    """The outcome for the whole channel: held only if no subscriber was called."""
    reason = f"{summary}: {'; '.join(one.reason for one in failures[:5])}"
    if not all(one.is_held for one in failures):
        return Unknown("webhooks", reason)
    waits = [one.retry_after for one in failures if one.retry_after is not None]
    return NotExecuted("webhooks", reason, retry_after=min(waits, default=None), is_held=True)


def _outcome(status: int | None) -> WebhookDeliveryStatus:
    if status == HTTPStatus.GONE:
        return WebhookDeliveryStatus.REFUSED
    is_success = status is not None and 200 <= status < 300
    return WebhookDeliveryStatus.SENT if is_success else WebhookDeliveryStatus.UNSENT
