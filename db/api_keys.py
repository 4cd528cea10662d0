"""Queries about API keys. Only the hash of a key is stored."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Date, bindparam, case, cast, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import ApiKey, Shop
from domain.api_keys import KeyScope

_TODAY = cast(func.timezone("UTC", func.now()), Date)

# Of every request, so SQLAlchemy does not build it anew each time.
_UNREVOKED = (
    select(
        Shop,
        ApiKey,
        case((ApiKey.expires_at <= func.now(), ApiKey.expires_at)),
        ApiKey.last_used_on.is_distinct_from(_TODAY),
    )
    .join(ApiKey, ApiKey.shop_id == Shop.id)
    .where(ApiKey.key_hash == bindparam("key_hash"), ApiKey.revoked_at.is_(None))
)


@dataclass(frozen=True, kw_only=True)
class FoundKey:
    """An API key that is not revoked, and its shop.

    Attributes:
        expired_at: None if the key is still valid.
        is_first_use: whether the key was not used today, in UTC.
    """

    shop: Shop
    row: ApiKey
    expired_at: datetime | None
    is_first_use: bool


def new_key() -> str:
    """A random key. Secret scanners recognise the prefix."""
    return f"pointsaga_{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> bytes:
    """SHA-256 of an API key. Keys have at least 128 bits of entropy, so no slow hash is needed."""
    return hashlib.sha256(key.encode()).digest()


async def find_key(session: AsyncSession, key: str) -> FoundKey | None:
    """An API key that is not revoked."""
    found = (await session.execute(_UNREVOKED, {"key_hash": hash_key(key)})).one_or_none()
    if found is None:
        return None
    shop, row, expired_at, is_first_use = found
    return FoundKey(shop=shop, row=row, expired_at=expired_at, is_first_use=is_first_use)


async def record_use(session: AsyncSession, key_id: int) -> None:
    """Record that the key was used today. A locked key is skipped: the use must not wait, and another will follow."""
    key = select(ApiKey.id).where(ApiKey.id == key_id).with_for_update(key_share=True, skip_locked=True)
    await session.execute(update(ApiKey).where(ApiKey.id.in_(key)).values(last_used_on=_TODAY))


async def create_key(
    session: AsyncSession, shop: Shop, key: str, *, scope: KeyScope, label: str, expires_at: datetime | None
) -> ApiKey:
    """Add a key to the shop."""
    row = ApiKey(shop_id=shop.id, key_hash=hash_key(key), scope=scope, label=label, expires_at=expires_at)
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
