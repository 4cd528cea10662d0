"""Intake of Shopify webhooks: verified, stored, and answered within a second. A workflow processes them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import structlog
from pydantic import SecretStr
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from activities.webhooks import ReceivedWebhook
from clients.shopify_webhooks import Topic, fits_topic, is_signed
from database import Sessions
from db import shops, transactions, webhooks
from db.tables import Shop
from db.vault import Vault
from domain.ids import webhook_workflow_id
from services.gateway import Gateway
from workflows.process_webhook import ProcessWebhook
from workflows.progress import shop_attributes

START_TIMEOUT_SECONDS = 0.5

MAX_AGE_OF_ERASURE = timedelta(hours=48)
"""An older webhook that erases is refused. Shopify retries for four hours."""

log = structlog.stdlib.get_logger("webhook_intake")


class WebhookRejected(Exception):
    """The webhook cannot be verified; the message says why."""


class WebhookSecretUnreadable(Exception):
    """The webhook cannot be verified for now; the message says why."""


class WebhookInvalid(Exception):
    """The webhook is signed, but its headers do not fit its body or are too old; the message says which."""


@dataclass(frozen=True, kw_only=True)
class SignedBody:
    """A body that was verified. `shop`: the shop of the header; None: unknown."""

    shop: Shop | None
    raw: bytes


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A webhook with the values of its headers. `triggered_at` is None if the header is missing."""

    id: str
    topic: str
    triggered_at: datetime | None
    body: SignedBody
    content: dict[str, Any]


class WebhookIntake:
    def __init__(self, sessions: Sessions, vault: Vault, gateway: Gateway, *, secrets: Sequence[SecretStr]) -> None:
        self._sessions = sessions
        self._vault = vault
        self._gateway = gateway
        self._app_secrets = secrets

    async def verify(self, shop_domain: str, body: bytes, signature: str) -> SignedBody:
        """Check the signature: with the shop's secrets if it has any, else with the app's.

        Raises:
            WebhookRejected: it does not match the body.
            WebhookSecretUnreadable: it matches none of the secrets that can be decrypted.
        """
        async with self._sessions() as session:
            shop = await shops.find_shop(session, shop_domain)
        secrets, are_complete = self._secrets_of(shop)
        if is_signed(body, signature, secrets):
            return SignedBody(shop=shop, raw=body)
        if not are_complete:
            log.error("webhook not verified: none of ENCRYPTION_KEYS decrypts the secret of its shop", shop=shop_domain)
            raise WebhookSecretUnreadable("The secret of this shop's webhooks is not available. Repeat the webhook.")
        reason = "The signature in X-Shopify-Hmac-Sha256 does not match the body"
        if not self._app_secrets:
            log.error("webhook rejected: no secret of its shop matches, and SHOPIFY_WEBHOOK_SECRETS is not set")
            reason += ". SHOPIFY_WEBHOOK_SECRETS is not set, so only shops with a secret of their own are served"
        raise WebhookRejected(reason)

    def _secrets_of(self, shop: Shop | None) -> tuple[Sequence[SecretStr], bool]:
        """The secrets that can be decrypted, and whether these are all."""
        if shop is None or not shop.webhook_secrets:
            return self._app_secrets, True
        readable = self._vault.open_texts(shop.webhook_secrets)
        return readable, len(readable) == len(shop.webhook_secrets)

    async def receive(self, webhook: Webhook) -> Literal["accepted", "ignored"]:
        """Store the webhook and start its workflow. Ignored: the topic is not processed, or the shop is unknown.

        Raises `WebhookInvalid`.
        """
        shop = webhook.body.shop
        if webhook.topic not in list(Topic) or shop is None:
            return "ignored"
        async with self._sessions.begin() as session:
            _check(webhook, Topic(webhook.topic), now=await transactions.now(session))
            is_new = await webhooks.store_webhook(
                session,
                shop_id=shop.id,
                webhook_id=webhook.id,
                topic=webhook.topic,
                payload=self._vault.seal_bytes(webhook.body.raw),
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
                    shop_id=received.shop_id,
                    search_attributes=shop_attributes(received.shop_domain),
                    summary=received.topic,
                    conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                )
        except (RPCError, RuntimeError, TimeoutError) as error:
            log.warning("the reconciler will start the webhook", shop_id=received.shop_id, reason=type(error).__name__)


def _check(webhook: Webhook, topic: Topic, *, now: datetime) -> None:
    """Compare the headers, which are not signed, with the body and the time. Raises `WebhookInvalid`."""
    if not fits_topic(topic, webhook.content):
        log.error("webhook rejected: its body does not fit its topic", topic=topic, webhook_id=webhook.id)
        raise WebhookInvalid(f"The body is not one of the topic {topic}")
    if topic.erases and (webhook.triggered_at is None or webhook.triggered_at < now - MAX_AGE_OF_ERASURE):
        log.error("webhook rejected: too old to erase", topic=topic, webhook_id=webhook.id)
        raise WebhookInvalid(f"X-Shopify-Triggered-At is required for {topic}, and must not be older than 48 hours")
