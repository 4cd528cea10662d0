"""Intake of Shopify webhooks: verified, stored, and answered within a second. A workflow processes them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog
from pydantic import SecretStr
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from activities.webhooks import ReceivedWebhook
from clients.shopify_webhooks import Topic, is_signed
from database import Sessions
from db import shops, webhooks
from db.vault import Vault
from domain.ids import webhook_workflow_id
from services.gateway import Gateway
from workflows.process_webhook import ProcessWebhook
from workflows.progress import shop_attributes

START_TIMEOUT_SECONDS = 0.5

log = structlog.stdlib.get_logger("webhook_intake")


class WebhookRejected(Exception):
    """The webhook cannot be verified; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A webhook with the values of its headers. `triggered_at` is None if the header is missing."""

    id: str
    topic: str
    shop_domain: str
    triggered_at: datetime | None
    body: bytes


class WebhookIntake:
    def __init__(self, sessions: Sessions, vault: Vault, gateway: Gateway, *, secrets: Sequence[SecretStr]) -> None:
        self._sessions = sessions
        self._vault = vault
        self._gateway = gateway
        self._secrets = secrets

    def verify(self, body: bytes, signature: str) -> None:
        """Check the signature. Raises `WebhookRejected`."""
        if not self._secrets:
            log.error("webhook rejected: SHOPIFY_WEBHOOK_SECRETS is not set")
            raise WebhookRejected("Webhooks are not configured: SHOPIFY_WEBHOOK_SECRETS is not set")
        if not is_signed(body, signature, self._secrets):
            raise WebhookRejected("The signature in X-Shopify-Hmac-Sha256 does not match the body")

    async def receive(self, webhook: Webhook) -> Literal["accepted", "ignored"]:
        """Store the webhook and start its workflow. Ignored: the topic is not processed, or the shop is unknown."""
        if webhook.topic not in list(Topic):
            return "ignored"
        async with self._sessions.begin() as session:
            shop = await shops.find_shop(session, webhook.shop_domain)
            if shop is None:
                return "ignored"
            is_new = await webhooks.store_webhook(
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
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                await self._gateway.start(
                    ProcessWebhook.run,
                    received,
                    workflow_id=webhook_workflow_id(received.shop_domain, received.webhook_id),
                    search_attributes=shop_attributes(received.shop_domain),
                    summary=received.topic,
                    conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                )
        except (RPCError, RuntimeError, TimeoutError) as error:
            log.warning("the reconciler will start the webhook", shop_id=received.shop_id, reason=type(error).__name__)
