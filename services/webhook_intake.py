"""Taking in what Shopify tells us: believed, kept, and answered within a second. The work is a workflow's."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from activities.webhooks import ReceivedWebhook
from api.errors import ApiError
from clients.shopify_webhooks import Topic, is_signed
from database import Sessions
from db import shops, webhooks
from db.vault import Vault
from domain.redemptions import webhook_run_id
from workflows.process_webhook import ProcessWebhook
from workflows.progress import of_shop

START_PATIENCE_SECONDS = 0.5

log = structlog.stdlib.get_logger("api")


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """What came, and what its headers say of it. `triggered_at` is None when Shopify did not say."""

    id: str
    topic: str
    shop_domain: str
    triggered_at: datetime | None
    body: bytes


class Intake:
    """Takes webhooks in."""

    def __init__(
        self, sessions: Sessions, vault: Vault, temporal: Client, *, secrets: Sequence[SecretStr], task_queue: str
    ) -> None:
        self._sessions = sessions
        self._vault = vault
        self._temporal = temporal
        self._secrets = secrets
        self._task_queue = task_queue

    def check(self, body: bytes, signature: str) -> None:
        """Believe only what is signed.

        Raises:
            ApiError: 401; somebody else's, or there is no secret to know it by.
        """
        if not self._secrets:
            log.error("a webhook came, but SHOPIFY_WEBHOOK_SECRETS is not set")
            raise ApiError("unauthorized", "Webhooks are not configured: SHOPIFY_WEBHOOK_SECRETS is not set")
        if not is_signed(body, signature, self._secrets):
            raise ApiError("unauthorized", "The signature in X-Shopify-Hmac-Sha256 does not fit the body")

    async def take(self, webhook: Webhook) -> Literal["accepted", "ignored"]:
        """Keep the webhook and start its run. Ignored when nobody here has to do with its topic or shop."""
        if webhook.topic not in list(Topic):
            return "ignored"
        async with self._sessions.begin() as session:
            shop = await shops.find_shop(session, webhook.shop_domain)
            if shop is None:
                return "ignored"
            is_new = await webhooks.keep(
                session,
                shop_id=shop.id,
                webhook_id=webhook.id,
                topic=webhook.topic,
                payload=self._vault.seal_bytes(webhook.body),
                triggered_at=webhook.triggered_at,
            )
        if is_new:
            await self._start(
                ReceivedWebhook(shop_id=shop.id, shop_domain=shop.domain, webhook_id=webhook.id, topic=webhook.topic)
            )
        return "accepted"

    async def _start(self, received: ReceivedWebhook) -> None:
        try:
            async with asyncio.timeout(START_PATIENCE_SECONDS):
                await self._temporal.start_workflow(
                    ProcessWebhook.run,
                    received,
                    id=webhook_run_id(received.shop_domain, received.webhook_id),
                    task_queue=self._task_queue,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    static_summary=received.topic,
                    search_attributes=of_shop(received.shop_domain),
                )
        except (RPCError, RuntimeError, TimeoutError) as error:
            # It is kept: the reconciler starts it once the engine is there.
            log.warning("a webhook waits for the reconciler", shop_id=received.shop_id, reason=type(error).__name__)
