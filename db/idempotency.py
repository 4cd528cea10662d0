"""Queries about idempotency keys: one key is one intention to buy, kept for longer than any engine's history."""

import hashlib
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import IdempotencyKey


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A decided answer, byte for byte as it was first given."""

    status: int
    body: str


def fingerprint(*parts: str) -> bytes:
    """What a key stands for. A hash, as a customer's identifier may be an e-mail address."""
    return hashlib.sha256("\n".join(parts).encode()).digest()


async def claim(
    session: AsyncSession, shop_id: int, key: str, mark: bytes, redemption_id: str
) -> tuple[IdempotencyKey, bool]:
    """The key's row, and whether it is new: written now with this id, or as whoever came first wrote it."""
    values = {"shop_id": shop_id, "key": key, "fingerprint": mark, "redemption_id": redemption_id}
    write = insert(IdempotencyKey).values(values).on_conflict_do_nothing().returning(IdempotencyKey.key)
    is_new = (await session.execute(write)).scalar_one_or_none() is not None
    return await session.get_one(IdempotencyKey, (shop_id, key)), is_new


async def decide(session: AsyncSession, shop_id: int, key: str, decision: Decision) -> Decision:
    """Keep the answer, unless there is one already; returns the one that is kept.

    A key that was erased under the request, with its customer, keeps nothing.
    """
    undecided = (IdempotencyKey.shop_id == shop_id, IdempotencyKey.key == key, IdempotencyKey.status.is_(None))
    await session.execute(update(IdempotencyKey).where(*undecided).values(status=decision.status, body=decision.body))
    kept = select(IdempotencyKey.status, IdempotencyKey.body)
    row = (
        await session.execute(kept.where(IdempotencyKey.shop_id == shop_id, IdempotencyKey.key == key))
    ).one_or_none()
    if row is None:
        return decision
    assert row.status is not None
    assert row.body is not None
    return Decision(status=row.status, body=row.body)


async def next_attempt(session: AsyncSession, shop_id: int, key: str, attempt: int) -> None:
    """The attempt came to nothing: the next request with this key makes a new one. Safe to say twice."""
    await session.execute(
        update(IdempotencyKey)
        .where(
            IdempotencyKey.shop_id == shop_id,
            IdempotencyKey.key == key,
            IdempotencyKey.attempt == attempt,
            IdempotencyKey.status.is_(None),
        )
        .values(attempt=attempt + 1)
    )


KEYS_ARE_KEPT = timedelta(days=30)


async def prune_idempotency_keys(session: AsyncSession) -> int:
    """Delete keys that have had their time; returns how many."""
    old = delete(IdempotencyKey).where(IdempotencyKey.created_at < func.now() - KEYS_ARE_KEPT)
    return len((await session.execute(old.returning(IdempotencyKey.key))).all())
