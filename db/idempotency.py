"""Queries about idempotency keys. They are kept longer than Temporal keeps histories."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus

from sqlalchemy import Boolean, bindparam, func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.pruning import delete_batch
from db.tables import IdempotencyKey

# Of every purchase, so SQLAlchemy does not build them anew each time.
_STORE = text("""
    UPDATE idempotency_keys SET status = :answer_status, body = :body
    WHERE shop_id = :shop_id AND key = :key AND status IS NULL AND (NOT :if_unknown OR customer_id IS NULL)
    RETURNING key
""").bindparams(bindparam("if_unknown", type_=Boolean))
_STORED = text("SELECT status, body FROM idempotency_keys WHERE shop_id = :shop_id AND key = :key")


@dataclass(frozen=True, kw_only=True)
class DecidedAnswer:
    """The HTTP status and body that were first answered, repeated byte for byte."""

    status: int
    body: str


def request_fingerprint(*parts: str) -> bytes:
    """Hash of the request under a key. A hash, because a customer identifier can be an e-mail address."""
    return hashlib.sha256("\n".join(parts).encode()).digest()


async def claim_key(
    session: AsyncSession, shop_id: int, key: str, fingerprint: bytes, redemption_id: str
) -> tuple[IdempotencyKey, bool]:
    """The key's row, and whether it is new. A new row gets this fingerprint and id."""
    values = {"shop_id": shop_id, "key": key, "fingerprint": fingerprint, "redemption_id": redemption_id}
    write = insert(IdempotencyKey).values(values).on_conflict_do_nothing().returning(IdempotencyKey.key)
    is_new = (await session.execute(write)).scalar_one_or_none() is not None
    return await session.get_one(IdempotencyKey, (shop_id, key)), is_new


async def store_answer(session: AsyncSession, shop_id: int, key: str, answer: DecidedAnswer) -> DecidedAnswer:
    """Store the answer unless one is stored; returns the stored one.

    Nothing is stored for a key that was erased, with its customer, during the request.
    """
    stored = await _store(session, shop_id, key, answer)
    assert stored is not None
    return stored


async def store_refusal(session: AsyncSession, shop_id: int, key: str, answer: DecidedAnswer) -> DecidedAnswer | None:
    """Like `store_answer`, for an unknown customer or reward. None: another request has found them and may purchase."""
    return await _store(session, shop_id, key, answer, if_unknown=True)


async def _store(
    session: AsyncSession, shop_id: int, key: str, answer: DecidedAnswer, *, if_unknown: bool = False
) -> DecidedAnswer | None:
    mine = {"shop_id": shop_id, "key": key}
    values = {"answer_status": answer.status, "body": answer.body, "if_unknown": if_unknown}
    if (await session.execute(_STORE, {**mine, **values})).first() is not None:
        return answer
    row = (await session.execute(_STORED, mine)).one_or_none()
    return answer if row is None else stored_answer(row.status, row.body)


def stored_answer(status: int | None, body: str | None) -> DecidedAnswer | None:
    """The answer in the row of a key. None: undecided."""
    return None if status is None or body is None else DecidedAnswer(status=status, body=body)


async def start_next_attempt(session: AsyncSession, shop_id: int, key: str, attempt: int) -> None:
    """Make the next request with this key a new attempt, as this one has failed. Safe to repeat."""
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


async def prune_keys(session: AsyncSession, *, kept_for: timedelta, refusals_kept_for: timedelta, limit: int) -> int:
    """Delete up to `limit` keys that have been kept for long enough; returns how many.

    `refusals_kept_for`: of requests without a key. A client that repeats one does so soon, with the response's key.
    """
    old = IdempotencyKey.created_at < func.now() - kept_for
    refused = (IdempotencyKey.is_made.is_(True), IdempotencyKey.status >= HTTPStatus.BAD_REQUEST)
    old_refusal = IdempotencyKey.created_at < func.now() - refusals_kept_for
    deleted = await delete_batch(session, IdempotencyKey, old, limit=limit)
    return deleted or await delete_batch(session, IdempotencyKey, *refused, old_refusal, limit=limit)
