"""Queries of the reconciler."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import TextClause, delete, func, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import IdempotencyKey

KEYS_ARE_KEPT = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class Stranded:
    """An attempt, or its refund, that has something left to do; `channels` are those it is announced on."""

    shop_id: int
    shop_domain: str
    redemption_id: str
    number: int
    customer_id: str
    reward_id: str
    deadline: datetime
    channels: list[str]


_UNFINISHED = text("""
    WITH unfinished AS (
        SELECT id, attempt FROM redemptions WHERE status = 'pending' AND deadline < :before
        UNION
        SELECT c.redemption_id, c.attempt FROM discount_codes c JOIN redemptions r ON r.id = c.redemption_id
        WHERE c.state = 'planned' AND c.updated_at < :before AND r.deadline < :before
          AND (r.status = 'failed' OR r.attempt > c.attempt)
        UNION
        SELECT d.redemption_id, r.attempt FROM deliveries d JOIN redemptions r ON r.id = d.redemption_id
        WHERE d.status IN ('pending', 'failed') AND d.event = 'reward_redeemed' AND r.captured_at < :before
    )
    SELECT r.shop_id, s.domain AS shop_domain, r.id AS redemption_id, u.attempt AS number,
           r.customer_id, r.reward_id, r.deadline,
           ARRAY(SELECT channel FROM deliveries d WHERE d.redemption_id = r.id AND d.event = 'reward_redeemed'
                 ORDER BY channel) AS channels
    FROM unfinished u JOIN redemptions r USING (id) JOIN shops s ON s.id = r.shop_id
    WHERE (CAST(:among AS text[]) IS NULL OR r.id = ANY(CAST(:among AS text[])))
      AND (CAST(:deadline AS timestamptz) IS NULL
           OR (r.deadline, r.id, u.attempt) > (CAST(:deadline AS timestamptz), :id, CAST(:attempt AS integer)))
    ORDER BY r.deadline, r.id, u.attempt LIMIT :at_most
""")


_UNFINISHED_REFUNDS = text("""
    WITH unfinished AS (
        SELECT redemption_id FROM refunds WHERE state = 'pending' AND created_at < :before
        UNION
        SELECT d.redemption_id FROM deliveries d
        WHERE d.status IN ('pending', 'failed') AND d.event = 'reward_refunded' AND d.created_at < :before
    )
    SELECT r.shop_id, s.domain AS shop_domain, r.id AS redemption_id, r.attempt AS number,
           r.customer_id, r.reward_id, r.deadline, f.channels
    FROM unfinished u JOIN refunds f USING (redemption_id) JOIN redemptions r ON r.id = f.redemption_id
    JOIN shops s ON s.id = r.shop_id
    ORDER BY f.created_at LIMIT :at_most
""")


async def unfinished(
    session: AsyncSession,
    *,
    before: datetime,
    at_most: int,
    after: Stranded | None = None,
    among: Sequence[str] | None = None,
) -> list[Stranded]:
    """Attempts that should have come to their end before that time and have not, the oldest first.

    `after` is the last one of the page before; `among` looks at these redemptions only.
    """
    page = {
        "deadline": after and after.deadline,
        "id": after and after.redemption_id,
        "attempt": after and after.number,
    }
    limits = {"before": before, "at_most": at_most, "among": among and list(among), **page}
    return await _stranded(session, _UNFINISHED, limits)


async def unfinished_refunds(session: AsyncSession, *, before: datetime, at_most: int) -> list[Stranded]:
    """Refunds that were asked for before that time, or have news from before it, and are not through."""
    return await _stranded(session, _UNFINISHED_REFUNDS, {"before": before, "at_most": at_most})


async def _stranded(session: AsyncSession, query: TextClause, limits: dict[str, Any]) -> list[Stranded]:
    rows = (await session.execute(query, limits)).mappings().all()
    return [Stranded(**dict(row)) for row in rows]


async def prune_idempotency_keys(session: AsyncSession) -> int:
    """Delete keys that have had their time; returns how many."""
    old = delete(IdempotencyKey).where(IdempotencyKey.created_at < func.now() - KEYS_ARE_KEPT)
    return len((await session.execute(old.returning(IdempotencyKey.key))).all())
