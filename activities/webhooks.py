"""Process Shopify webhooks that are stored."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import partial

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.attempt import Attempt
from activities.pruning import prune
from activities.webhook_topics import HANDLERS, Webhook
from clients.shopify_webhooks import Topic
from database import Sessions
from db import orders, shops, transactions, webhooks
from db.unfinished import list_unfinished
from db.vault import Vault
from domain.events import EventKind

# Longer than the workflow that the API starts needs to begin.
UNPROCESSED_AFTER = timedelta(seconds=20)
BATCH_SIZE = 200


class ReceivedWebhook(BaseModel):
    """A stored webhook. Contains ids only, as it is stored in the workflow's history."""

    shop_id: int
    shop_domain: str
    webhook_id: str
    topic: str


class Reversal(BaseModel):
    """What a cancelled or fully refunded order has requested: a refund of its redemption, or a reissue of the code."""

    event: EventKind
    attempt: Attempt


class Webhooks:
    """Processes webhooks."""

    def __init__(self, sessions: Sessions, vault: Vault, *, kept_for: timedelta, orders_kept_for: timedelta) -> None:
        self._sessions = sessions
        self._vault = vault
        self._prune = partial(webhooks.prune_webhooks, kept_for=kept_for)
        self._prune_orders = partial(orders.prune_orders, kept_for=orders_kept_for)

    @activity.defn
    async def process_webhook(self, received: ReceivedWebhook) -> bool | list[Reversal]:
        """Process the webhook once, and delete its body. False: another execution is needed.

        Returns what the webhook requested, if anything: its workflows are to be started.

        Raises:
            CodeUndecided: the capture of a used code is in progress; to be retried.
        """
        async with self._sessions.begin() as session:
            row = await webhooks.lock_webhook(session, received.shop_id, received.webhook_id)
            if row is None or row.payload is None:
                return True
            shop = await shops.get_shop(session, row.shop_id)
            body = self._vault.open_bytes(row.payload)
            webhook = Webhook(shop=shop, triggered_at=row.triggered_at, body=body)
            outcome = await HANDLERS[Topic(row.topic)](session, webhook)
            if outcome is True:
                return False
            row.payload, row.processed_at = None, await transactions.now(session)
            return await _reversals(session, outcome or ()) or True

    @activity.defn
    async def find_unprocessed_webhooks(self, _: None) -> list[ReceivedWebhook]:
        """Webhooks that should be processed by now. Usually their workflow could not be started."""
        async with self._sessions() as session:
            before = await transactions.now(session) - UNPROCESSED_AFTER
            rows = await webhooks.list_unprocessed(session, before=before, limit=BATCH_SIZE)
        return [
            ReceivedWebhook(shop_id=shop_id, shop_domain=domain, webhook_id=webhook_id, topic=topic)
            for shop_id, domain, webhook_id, topic in rows
        ]

    @activity.defn
    async def prune_webhooks(self, _: None) -> int:
        """Delete webhooks that were processed long ago, and refunds of orders without codes; returns how many."""
        return await prune(self._sessions, self._prune) + await prune(self._sessions, self._prune_orders)


async def _reversals(session: AsyncSession, requested: Sequence[tuple[EventKind, str]]) -> list[Reversal]:
    found: list[Reversal] = []
    for event, redemption_id in requested:
        now = await transactions.now(session) + timedelta(seconds=1)
        page = await list_unfinished(session, event, before=now, limit=1, among=[redemption_id])
        found += [Reversal(event=event, attempt=Attempt.model_validate(asdict(one))) for one in page]
    return found
