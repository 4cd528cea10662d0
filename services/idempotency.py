"""Idempotency keys: a key stands for one request. Its answer is stored and repeated."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from database import Sessions
from db import idempotency
from db.idempotency import DecidedAnswer, stored_answer
from db.tables import IdempotencyKey, Shop
from domain.ids import new_answer_id


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


Work = Callable[[AsyncSession], Awaitable[tuple[DecidedAnswer, str | None]]]
"""Does what was requested. Returns the answer, and the customer whose data it has."""


async def answer_once(sessions: Sessions, shop: Shop, work: Work, *, key: str, fingerprint: bytes) -> Reply:
    """Work and store the answer in one transaction, or repeat the stored answer.

    Nothing is stored if the work raises. Raises `IdempotencyKeyReused`.
    """
    async with sessions.begin() as session:
        claim, is_new = await claim_key(session, shop, key, fingerprint, new_answer_id())
        if is_new:
            answer, claim.customer_id = await work(session)
            claim.status, claim.body = answer.status, answer.body
    answer = stored_answer(claim.status, claim.body)
    assert answer is not None, "the transaction that claims the key decides the answer"
    return Reply(answer=answer, replayed=not is_new)


async def answer_when_done(
    sessions: Sessions, shop: Shop, work: Callable[[], Awaitable[DecidedAnswer]], *, key: str, fingerprint: bytes
) -> Reply:
    """Like `answer_once`, for work that is safe to repeat and has transactions of its own.

    Two requests at the same time both work; the first answer is stored.
    """
    async with sessions.begin() as session:
        claim, _ = await claim_key(session, shop, key, fingerprint, new_answer_id())
    if (stored := stored_answer(claim.status, claim.body)) is not None:
        return Reply(answer=stored, replayed=True)
    answer = await work()
    async with sessions.begin() as session:
        return Reply(answer=await idempotency.store_answer(session, shop.id, key, answer), replayed=False)
