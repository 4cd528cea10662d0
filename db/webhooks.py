"""Queries about what Shopify told us: kept once, processed once, forgotten after a while."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Row, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Shop, ShopifyWebhook

PROCESSED_ARE_KEPT = timedelta(days=30)


async def keep(
    session: AsyncSession, *, shop_id: int, webhook_id: str, topic: str, payload: bytes, triggered_at: datetime | None
) -> bool:
    """Keep a webhook with its encrypted payload; False when one with its id is there already."""
    row = {"shop_id": shop_id, "id": webhook_id, "topic": topic, "payload": payload}
    write = insert(ShopifyWebhook).values(**row, triggered_at=triggered_at or func.now())
    added = await session.execute(write.on_conflict_do_nothing().returning(ShopifyWebhook.id))
    return added.scalar_one_or_none() is not None


async def lock_webhook(session: AsyncSession, shop_id: int, webhook_id: str) -> ShopifyWebhook | None:
    """One webhook, locked until the transaction ends. Taken before anything that it is about."""
    return await session.get(ShopifyWebhook, (shop_id, webhook_id), with_for_update=True)


async def waiting(session: AsyncSession, *, before: datetime, at_most: int) -> Sequence[Row[int, str, str, str]]:
    """Shop id, shop domain, webhook id and topic of what was received before that time and is not processed."""
    query = select(ShopifyWebhook.shop_id, Shop.domain, ShopifyWebhook.id, ShopifyWebhook.topic)
    late = (ShopifyWebhook.processed_at.is_(None), ShopifyWebhook.received_at < before)
    of_shops = query.join(Shop, Shop.id == ShopifyWebhook.shop_id).where(*late)
    return (await session.execute(of_shops.order_by(ShopifyWebhook.received_at).limit(at_most))).all()


async def prune_webhooks(session: AsyncSession) -> int:
    """Delete those that were processed long ago; returns how many. Shopify repeats itself for hours, not for days."""
    old = delete(ShopifyWebhook).where(ShopifyWebhook.processed_at < func.now() - PROCESSED_ARE_KEPT)
    return len((await session.execute(old.returning(ShopifyWebhook.id))).all())
