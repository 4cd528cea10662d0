"""Webhook subscriptions: create, change, rotate and delete them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from clients.targets import Targets
from database import Sessions
from db import shops, subscriptions
from db.activity_log import log_shop
from db.tables import Shop, WebhookSubscription
from db.vault import Vault
from domain.activity_log import ActivityKind
from domain.ids import new_subscription_id
from domain.subscriptions import MAX_SUBSCRIPTIONS, new_secret


class SubscriptionNotFound(Exception):
    """The shop has no subscription with this id."""

    def __init__(self, subscription_id: str) -> None:
        super().__init__(f"Webhook subscription '{subscription_id}' not found")


class TooManySubscriptions(Exception):
    """The shop has as many subscriptions as it can have."""

    def __init__(self) -> None:
        super().__init__(f"A shop can have {MAX_SUBSCRIPTIONS} webhook subscriptions. Delete one that is not used.")


@dataclass(frozen=True, kw_only=True)
class Subscriptions:
    """Changes webhook subscriptions. Every URL is checked: `TargetRefused` if it is not public HTTPS.

    Every change is logged with its actor.
    """

    sessions: Sessions
    vault: Vault
    targets: Targets

    async def create(self, shop: Shop, values: Mapping[str, Any], *, actor: str) -> tuple[WebhookSubscription, str]:
        """A new subscription with these columns, and its secret.

        Raises:
            TargetRefused: the URL cannot receive webhooks.
            TooManySubscriptions: the shop has as many as it can have.
        """
        await self.targets.check(values["url"])
        secret = new_secret()
        sealed = self.vault.seal_bytes(secret.encode())
        row = WebhookSubscription(**values, id=new_subscription_id(), shop_id=shop.id, secret=sealed)
        async with self.sessions.begin() as session:
            # Locked, so that two requests do not both find one left.
            await shops.hold_shop(session, shop.id)
            if await subscriptions.count_subscriptions(session, shop.id) >= MAX_SUBSCRIPTIONS:
                raise TooManySubscriptions
            session.add(row)
            _log(session, row, ActivityKind.SUBSCRIPTION_CREATED, actor)
            await _write(session, row)
        return row, secret

    async def update(
        self, shop: Shop, subscription_id: str, changes: Mapping[str, Any], *, actor: str
    ) -> WebhookSubscription:
        """Set columns to new values. Raises `SubscriptionNotFound` or `TargetRefused`."""
        if "url" in changes:
            await self.targets.check(changes["url"])
        async with self.sessions.begin() as session:
            row = await _lock(session, shop, subscription_id)
            for column, value in changes.items():
                setattr(row, column, value)
            _log(session, row, ActivityKind.SUBSCRIPTION_UPDATED, actor, fields=sorted(changes))
            await _write(session, row)
        return row

    async def rotate_secret(self, shop: Shop, subscription_id: str, *, actor: str) -> tuple[WebhookSubscription, str]:
        """The subscription with a new secret. Raises `SubscriptionNotFound`."""
        secret = new_secret()
        async with self.sessions.begin() as session:
            row = await _lock(session, shop, subscription_id)
            row.secret = self.vault.seal_bytes(secret.encode())
            _log(session, row, ActivityKind.SUBSCRIPTION_SECRET_ROTATED, actor)
            await _write(session, row)
        return row, secret

    async def delete(self, shop: Shop, subscription_id: str, *, actor: str) -> None:
        """Delete a subscription with its deliveries. Raises `SubscriptionNotFound`."""
        async with self.sessions.begin() as session:
            row = await _lock(session, shop, subscription_id)
            _log(session, row, ActivityKind.SUBSCRIPTION_DELETED, actor)
            await session.delete(row)


async def _lock(session: AsyncSession, shop: Shop, subscription_id: str) -> WebhookSubscription:
    row = await subscriptions.lock_subscription(session, shop.id, subscription_id)
    if row is None:
        raise SubscriptionNotFound(subscription_id)
    return row


def _log(session: AsyncSession, row: WebhookSubscription, kind: ActivityKind, actor: str, **more: Any) -> None:
    log_shop(session, row.shop_id, kind, {"subscription_id": row.id, "actor": actor, **more})


async def _write(session: AsyncSession, row: WebhookSubscription) -> None:
    # Reads back what the database sets: times and defaults.
    await session.flush()
    await session.refresh(row)
