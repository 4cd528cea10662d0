"""Idempotency keys: a key stands for one request, whose answer is stored and repeated."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from db import idempotency
from db.idempotency import DecidedAnswer
from db.tables import IdempotencyKey, Shop


class IdempotencyKeyReused(Exception):
    """The key was used for a different request."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A decided answer. `replayed`: an earlier request has stored it."""

    answer: DecidedAnswer
    replayed: bool


async def claim_key(
    session: AsyncSession, shop: Shop, key: str, fingerprint: bytes, new_id: str
) -> tuple[IdempotencyKey, bool]:
    """The key's row, and whether it is new, with this fingerprint and id. Raises `IdempotencyKeyReused`."""
    row, is_new = await idempotency.claim_key(session, shop.id, key, fingerprint, new_id)
    if row.fingerprint != fingerprint:
        raise IdempotencyKeyReused
    return row, is_new
