"""Queries about API keys. Only the hash of a key is kept."""

import secrets
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.api_keys import hash_key
from db.tables import ApiKey, Shop


def new_key() -> str:
    """A fresh key that nobody can guess. The prefix lets scanners for leaked secrets know it."""
    return f"pointsaga_{secrets.token_urlsafe(32)}"


async def create_key(session: AsyncSession, shop: Shop, key: str, *, scope: str, label: str) -> ApiKey:
    """Let this key speak for the shop."""
    row = ApiKey(shop_id=shop.id, key_hash=hash_key(key), scope=scope, label=label)
    session.add(row)
    await session.flush()
    return row


async def keys_of(session: AsyncSession, shop: Shop) -> Sequence[ApiKey]:
    """Every key of the shop, revoked ones too, the oldest first."""
    return (await session.scalars(select(ApiKey).where(ApiKey.shop_id == shop.id).order_by(ApiKey.id))).all()


async def revoke_key(session: AsyncSession, key_id: int) -> tuple[ApiKey, Shop] | None:
    """Refuse the key from now on; one that was revoked before keeps its time. None when there is no such key."""
    row = await session.get(ApiKey, key_id, with_for_update=True)
    if row is None:
        return None
    if row.revoked_at is None:
        row.revoked_at = (await session.execute(select(func.now()))).scalar_one()
    return row, await session.get_one(Shop, row.shop_id)


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
