"""Steps that act on what Shopify told us."""

from datetime import timedelta

from pydantic import BaseModel
from temporalio import activity

from activities.webhook_topics import HANDLERS, News
from clients.shopify_webhooks import Topic
from database import Sessions
from db import shops, transactions, webhooks
from db.vault import Vault

# Longer than the run that the API starts takes to begin.
PATIENCE = timedelta(seconds=20)
AT_A_TIME = 200


class ReceivedWebhook(BaseModel):
    """A webhook that is kept. Ids only, as it stays in the workflow's history."""

    shop_id: int
    shop_domain: str
    webhook_id: str
    topic: str


class Webhooks:
    """Processes webhooks."""

    def __init__(self, sessions: Sessions, vault: Vault) -> None:
        self._sessions = sessions
        self._vault = vault

    @activity.defn
    async def process_webhook(self, received: ReceivedWebhook) -> bool:
        """Do what follows from the webhook, once, and forget its body; False when there is more to do.

        Raises:
            CodeUndecided: a code was used whose capture is under way; worth waiting.
        """
        async with self._sessions.begin() as session:
            webhook = await webhooks.lock_webhook(session, received.shop_id, received.webhook_id)
            if webhook is None or webhook.payload is None:
                return True
            shop = await shops.shop_by_id(session, webhook.shop_id)
            body = self._vault.open_bytes(webhook.payload)
            news = News(shop=shop, triggered_at=webhook.triggered_at, body=body)
            if await HANDLERS[Topic(webhook.topic)](session, news):
                return False
            webhook.payload, webhook.processed_at = None, await transactions.now(session)
            return True

    @activity.defn
    async def find_waiting_webhooks(self, _: None) -> list[ReceivedWebhook]:
        """Webhooks that should have been processed by now: most have no run, as nobody could start it."""
        async with self._sessions() as session:
            late = await transactions.now(session) - PATIENCE
            rows = await webhooks.waiting(session, before=late, at_most=AT_A_TIME)
        return [
            ReceivedWebhook(shop_id=shop_id, shop_domain=domain, webhook_id=webhook_id, topic=topic)
            for shop_id, domain, webhook_id, topic in rows
        ]

    @activity.defn
    async def prune_webhooks(self, _: None) -> int:
        """Forget webhooks that have had their time; returns how many."""
        async with self._sessions.begin() as session:
            return await webhooks.prune_webhooks(session)
