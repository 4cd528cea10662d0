"""How those who subscribed are told of a redemption: the channel is one, they are many."""

import asyncio
from datetime import datetime, timedelta
from http import HTTPStatus

from cryptography.fernet import InvalidToken
from pydantic import SecretStr

from activities.senders import news_of
from clients.outcomes import NotExecuted, Unknown
from clients.subscribers import WebhookRequest, Subscribers, webhook_body
from database import Sessions
from db import shops, subscriptions, transactions
from db.tables import WebhookDelivery, WebhookSubscription
from db.vault import Vault
from domain.events import EventKind
from domain.subscriptions import EVENTS, REFUSED, SENT, UNSENT


class WebhookSender:
    """Each subscriber is told until they say that they heard, whatever becomes of the others."""

    repeatable = True
    oldest = timedelta(hours=24)

    def __init__(self, sessions: Sessions, vault: Vault, subscribers: Subscribers) -> None:
        self._sessions = sessions
        self._vault = vault
        self._subscribers = subscribers

    async def send(self, shop_id: int, redemption_id: str, event: EventKind) -> None:
        """Tell whoever has not heard yet, side by side.

        Raises:
            Unknown: somebody has still not heard.
        """
        async with self._sessions.begin() as session:
            shop = await shops.shop_by_id(session, shop_id)
            news = await news_of(session, shop, redemption_id, event)
            waiting = await subscriptions.to_tell(session, shop_id, news)
            now = await transactions.now(session)
        body = webhook_body(shop.domain, news)
        tries = [self._tell(delivery, subscription, body, now) for delivery, subscription in waiting]
        failures = await asyncio.gather(*tries)
        if untold := [failure for failure in failures if failure]:
            raise Unknown("webhooks", f"{len(untold)} of {len(waiting)} not told: {'; '.join(untold[:5])}")

    async def _tell(
        self, delivery: WebhookDelivery, subscription: WebhookSubscription, body: bytes, now: datetime
    ) -> str | None:
        """Try once and keep what came of it; says why it must be tried again."""
        try:
            status = await self._subscribers.send(subscription.url, self._notice(delivery, subscription, body, now))
            reason = f"HTTP {status}"
        except (NotExecuted, Unknown) as error:
            status, reason = None, error.reason
        except InvalidToken:
            status, reason = None, "none of ENCRYPTION_KEYS opens its secret"
        state = _state(status)
        async with self._sessions.begin() as session:
            await subscriptions.note_try(session, delivery.id, state=state, status=status)
        return f"{subscription.id} {reason}" if state == UNSENT else None

    def _notice(self, delivery: WebhookDelivery, to: WebhookSubscription, body: bytes, now: datetime) -> WebhookRequest:
        secret = SecretStr(self._vault.open_bytes(to.secret).decode())
        event = EVENTS[EventKind(delivery.event)]
        return WebhookRequest(id=delivery.id, event=event, body=body, secret=secret, sent_at=now)


def _state(status: int | None) -> str:
    if status == HTTPStatus.GONE:
        return REFUSED
    return SENT if status is not None and 200 <= status < 300 else UNSENT
