"""Queries of the reconciler."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import IdempotencyKey

KEYS_ARE_KEPT = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class Stranded:
    """An attempt that has something left to do; `channels` are those it has deliveries for."""

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
        WHERE d.status IN ('pending', 'failed') AND r.captured_at < :before
    )
    SELECT r.shop_id, s.domain AS shop_domain, r.id AS redemption_id, u.attempt AS number,
           r.customer_id, r.reward_id, r.deadline,
           ARRAY(SELECT channel FROM deliveries d WHERE d.redemption_id = r.id ORDER BY channel) AS channels
    FROM unfinished u JOIN redemptions r USING (id) JOIN shops s ON s.id = r.shop_id
    WHERE (CAST(:among AS text[]) IS NULL OR r.id = ANY(CAST(:among AS text[])))
      AND (CAST(:deadline AS timestamptz) IS NULL
           OR (r.deadline, r.id, u.attempt) > (CAST(:deadline AS timestamptz), :id, CAST(:attempt AS integer)))
    ORDER BY r.deadline, r.id, u.attempt LIMIT :at_most
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
    rows = (await session.execute(_UNFINISHED, limits)).mappings().all()
    return [Stranded(**dict(row)) for row in rows]


async def prune_idempotency_keys(session: AsyncSession) -> int:
    """Delete keys that have had their time; returns how many."""
    old = delete(IdempotencyKey).where(IdempotencyKey.created_at < func.now() - KEYS_ARE_KEPT)
    return len((await session.execute(old.returning(IdempotencyKey.key))).all())
