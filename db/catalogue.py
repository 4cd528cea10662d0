"""Queries about shops, keys, customers and rewards. All take a session and never commit."""

import hashlib
from datetime import UTC, datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db import subscriptions
from db.tables import ApiKey, Customer, Delivery, Reward, Shop
from domain.channels import Channel


async def now(session: AsyncSession) -> datetime:
    """The database's clock, as it is now and not when the transaction began: it may have waited for a lock since."""
    return (await session.execute(select(func.clock_timestamp()))).scalar_one().astimezone(UTC)


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


def hash_key(key: str) -> bytes:
    """What is kept of an API key. Keys are long and random, so a fast hash is enough."""
    return hashlib.sha256(key.encode()).digest()


async def shop_of_key(session: AsyncSession, key: str) -> tuple[Shop, ApiKey] | None:
    """The shop that an API key speaks for; None when the key is unknown or revoked."""
    query = select(Shop, ApiKey).join(ApiKey, ApiKey.shop_id == Shop.id)
    row = (
        await session.execute(query.where(ApiKey.key_hash == hash_key(key), ApiKey.revoked_at.is_(None)))
    ).one_or_none()
    return None if row is None else (row[0], row[1])


async def channels_of(session: AsyncSession, shop: Shop) -> list[Channel]:
    """Where this shop's redemptions are announced: at vendors that have credentials, and at whoever subscribed."""
    channels = [channel for channel in Channel if channel.vendor in shop.credentials]
    return [*channels, Channel.WEBHOOKS] if await subscriptions.has_listeners(session, shop.id) else channels


async def find_customer(
    session: AsyncSession, shop_id: int, identifier: str, *, locked: bool = False
) -> Customer | None:
    """A customer by Shopify id or by e-mail address (in any case); `locked` as by `lock_customer`."""
    by_email = func.lower(Customer.email) == identifier.lower()
    query = select(Customer).where(
        Customer.shop_id == shop_id, by_email if "@" in identifier else Customer.id == identifier
    )
    query = query.with_for_update() if locked else query
    return (await session.execute(query)).scalar_one_or_none()


async def lock_customer(
    session: AsyncSession, shop_id: int, customer_id: str, *, if_free: bool = False
) -> Customer | None:
    """The customer, locked until the transaction ends. Taken first by everything that moves points.

    With `if_free`, None too when somebody else is busy with the customer: for what can as well be done later.
    """
    query = select(Customer).where(Customer.shop_id == shop_id, Customer.id == customer_id)
    return (await session.execute(query.with_for_update(skip_locked=if_free))).scalar_one_or_none()


async def find_reward(session: AsyncSession, shop_id: int, reward_id: str) -> Reward | None:
    """A reward that can be bought: active and not deleted."""
    on_offer = (Reward.is_active, Reward.deleted_at.is_(None))
    query = select(Reward).where(Reward.shop_id == shop_id, Reward.id == reward_id, *on_offer)
    return (await session.execute(query)).scalar_one_or_none()
