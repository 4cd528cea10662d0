"""Queries about API keys. Only the hash of a key is stored."""

import hashlib
import secrets
from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import ApiKey, Shop


def new_key() -> str:
    """A random key. Secret scanners recognise the prefix."""
    return f"pointsaga_{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> bytes:
    """SHA-256 of an API key. Keys have at least 128 bits of entropy, so no slow hash is needed."""
    return hashlib.sha256(key.encode()).digest()


async def find_key(session: AsyncSession, key: str) -> tuple[Shop, ApiKey] | None:
    """An API key that is not revoked, and its shop."""
    query = select(Shop, ApiKey).join(ApiKey, ApiKey.shop_id == Shop.id)
    valid = (ApiKey.key_hash == hash_key(key), ApiKey.revoked_at.is_(None))
    row = (await session.execute(query.where(*valid))).one_or_none()
    return None if row is None else (row[0], row[1])


async def create_key(session: AsyncSession, shop: Shop, key: str, *, scope: str, label: str) -> ApiKey:
    """Add a key to the shop."""
    row = ApiKey(shop_id=shop.id, key_hash=hash_key(key), scope=scope, label=label)
    session.add(row)
    await session.flush()
    return row


async def list_keys(session: AsyncSession, shop: Shop) -> Sequence[ApiKey]:
    """Every key of the shop, including revoked ones, oldest first."""
    return (await session.scalars(select(ApiKey).where(ApiKey.shop_id == shop.id).order_by(ApiKey.id))).all()


async def revoke_key(session: AsyncSession, key_id: int) -> tuple[ApiKey, Shop] | None:
    """Revoke the key. A key that was revoked before keeps its time. None: there is no such key."""
    row = await session.get(ApiKey, key_id, with_for_update=True)
    if row is None:
        return None
    if row.revoked_at is None:
        row.revoked_at = (await session.execute(select(func.now()))).scalar_one()
    return row, await session.get_one(Shop, row.shop_id)


async def revoke_all(session: AsyncSession, shop_id: int) -> None:
    """Revoke every key of the shop and delete their labels."""
    valid = (ApiKey.shop_id == shop_id, ApiKey.revoked_at.is_(None))
    await session.execute(update(ApiKey).where(*valid).values(revoked_at=func.now(), label=""))
