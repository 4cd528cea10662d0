"""Queries about shops."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db import activity_log, api_keys, deliveries, subscriptions
from db.tables import Delivery, Shop
from domain.channels import Channel


async def get_shop(session: AsyncSession, shop_id: int) -> Shop:
    """The shop with this id, which must exist."""
    return await session.get_one(Shop, shop_id)


async def hold_shop(session: AsyncSession, shop_id: int) -> None:
    """Lock the shop against changes until the transaction ends. Its purchases do not wait."""
    await session.execute(select(Shop.id).where(Shop.id == shop_id).with_for_update(key_share=True))


async def lock_shop(session: AsyncSession, shop_id: int) -> Shop:
    """The shop with this id, which must exist, locked like `hold_shop`."""
    query = select(Shop).where(Shop.id == shop_id).with_for_update(key_share=True)
    return (await session.scalars(query.execution_options(populate_existing=True))).one()


async def find_shop(session: AsyncSession, domain: str, *, locked: bool = False) -> Shop | None:
    """The shop with this myshopify.com domain, locked on request, like `hold_shop`."""
    query = select(Shop).where(Shop.domain == domain)
    query = query.with_for_update(key_share=True) if locked else query
    return (await session.execute(query)).scalar_one_or_none()


async def list_shops(session: AsyncSession) -> Sequence[Shop]:
    """All shops, by domain."""
    return (await session.scalars(select(Shop).order_by(Shop.domain))).all()


def channels_of(shop: Shop, *, has_subscriptions: bool) -> list[Channel]:
    """The channels that the shop's events are delivered on: those with credentials, and webhooks if subscribed."""
    channels = [channel for channel in Channel if channel.vendor in shop.credentials]
    return [*channels, Channel.WEBHOOKS] if has_subscriptions else channels


async def delete_credentials(session: AsyncSession, shop_id: int, *, before: datetime) -> None:
    """Delete the shop's vendor credentials and skip its unsent deliveries, unless the shop has changed since `before`.

    Its API keys stay: customers can still be read. A purchase finds no Shopify credentials and reserves no points.
    """
    unchanged = (Shop.id == shop_id, Shop.updated_at < before)
    deleted = await session.execute(update(Shop).where(*unchanged).values(credentials={}).returning(Shop.id))
    if deleted.scalar_one_or_none() is not None:
        await deliveries.skip_unsent(session, Delivery.shop_id == shop_id, reason="the app was uninstalled")


async def close_shop(session: AsyncSession, shop: Shop) -> None:
    """Delete the shop's name, credentials, keys and subscriptions, and enrol no customers any more. The ledger stays.

    Its webhook secrets stay too, so that the app's secrets never serve it.
    """
    shop.name, shop.credentials, shop.enroll_customers = shop.domain, {}, False
    await subscriptions.delete_subscriptions(session, shop.id)
    await api_keys.revoke_all(session, shop.id)
    await activity_log.erase_shop_entries(session, shop.id)
