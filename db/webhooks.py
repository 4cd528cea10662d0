"""Queries about webhooks from Shopify."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Row, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.pruning import delete_batch
from db.tables import Shop, ShopifyWebhook


async def store_webhook(
    session: AsyncSession, *, shop_id: int, webhook_id: str, topic: str, payload: bytes, triggered_at: datetime | None
) -> bool:
    """Store a webhook with its encrypted payload. False: a webhook with this id is stored already."""
    row = {"shop_id": shop_id, "id": webhook_id, "topic": topic, "payload": payload}
    write = insert(ShopifyWebhook).values(**row, triggered_at=triggered_at or func.now())
    added = await session.execute(write.on_conflict_do_nothing().returning(ShopifyWebhook.id))
    return added.scalar_one_or_none() is not None


async def lock_webhook(session: AsyncSession, shop_id: int, webhook_id: str) -> ShopifyWebhook | None:
    """One webhook, locked until the transaction ends. Must be the transaction's first lock."""
    return await session.get(ShopifyWebhook, (shop_id, webhook_id), with_for_update=True)


async def list_unprocessed(session: AsyncSession, *, before: datetime, limit: int) -> Sequence[Row[int, str, str, str]]:
    """Shop id, shop domain, webhook id and topic of webhooks received before this time and not processed."""
    query = select(ShopifyWebhook.shop_id, Shop.domain, ShopifyWebhook.id, ShopifyWebhook.topic)
    late = (ShopifyWebhook.processed_at.is_(None), ShopifyWebhook.received_at < before)
    of_shops = query.join(Shop, Shop.id == ShopifyWebhook.shop_id).where(*late)
    return (await session.execute(of_shops.order_by(ShopifyWebhook.received_at).limit(limit))).all()


async def prune_webhooks(session: AsyncSession, *, kept_for: timedelta, limit: int) -> int:
    """Delete up to `limit` webhooks that were processed this long ago; returns how many."""
    old = ShopifyWebhook.processed_at < func.now() - kept_for
    return await delete_batch(session, ShopifyWebhook, old, limit=limit)
