"""Queries about shops, keys, customers and rewards. All take a session and never commit."""

from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db import subscriptions
from db.tables import ApiKey, Delivery, Shop
from domain.channels import Channel


async def shop_by_id(session: AsyncSession, shop_id: int) -> Shop:
    """The shop that an id of ours names."""
    return await session.get_one(Shop, shop_id)


async def find_shop(session: AsyncSession, domain: str) -> Shop | None:
    """The shop of a domain, as Shopify names it."""
    return (await session.execute(select(Shop).where(Shop.domain == domain))).scalar_one_or_none()


async def forget_credentials(session: AsyncSession, shop_id: int, *, before: datetime) -> None:
    """Drop what the shop's vendors are spoken to with, unless the shop was set up anew since. Nobody is told any more.

    Its API keys stay: customers can still be read, and a purchase finds no Shopify and takes no points.
    """
    unchanged = (Shop.id == shop_id, Shop.updated_at < before)
    dropped = await session.execute(update(Shop).where(*unchanged).values(credentials={}).returning(Shop.id))
    if dropped.scalar_one_or_none() is not None:
        untold = (Delivery.shop_id == shop_id, Delivery.status.in_(["pending", "failed"]))
        reason = "the app was uninstalled"
        await session.execute(update(Delivery).where(*untold).values(status="skipped", last_error=reason))


async def close_shop(session: AsyncSession, shop: Shop) -> None:
    """The merchant has left: no name, no credentials, no keys, no subscriptions. What is left are numbers."""
    shop.name, shop.credentials = shop.domain, {}
    await subscriptions.delete_all(session, shop.id)
    open_keys = (ApiKey.shop_id == shop.id, ApiKey.revoked_at.is_(None))
    await session.execute(update(ApiKey).where(*open_keys).values(revoked_at=func.now(), label=""))


async def channels_of(session: AsyncSession, shop: Shop) -> list[Channel]:
    """Where this shop's redemptions are announced: at vendors that have credentials, and at whoever subscribed."""
    channels = [channel for channel in Channel if channel.vendor in shop.credentials]
    return [*channels, Channel.WEBHOOKS] if await subscriptions.has_listeners(session, shop.id) else channels
