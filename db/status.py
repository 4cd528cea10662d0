"""Queries for the command `status`: whether customers can buy, by shop."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Interval, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.statements import statement
from db.tables import Shop

WINDOW = timedelta(minutes=15)
"""What happened earlier is history."""


@dataclass(frozen=True, kw_only=True)
class Purchases:
    """Purchases of a shop with the same outcome and reason. The names are keys of `status --json`.

    Attributes:
        outcome: `purchased`, `refused`, `failed`, `in_progress`, `queued` (waits for its turn at Shopify), or
            `unanswered` (503 without a reservation).
        code: of a refusal, the error's code; of a failure, its `FailureCode`.
        reason: of a failure, in the vendor's words.
        last: id of the latest one's redemption.
    """

    shop: str
    outcome: str
    code: str | None
    reason: str | None
    number: int
    since: datetime
    last: str


@dataclass(frozen=True, kw_only=True)
class FailingPurchases:
    """Failed attempts of a shop since its last purchase and since its last import, with the same code.

    Attributes:
        reason: of the latest one.
        last: id of the latest one's redemption.
    """

    shop: str
    code: str
    reason: str | None
    number: int
    since: datetime
    last: str


@dataclass(frozen=True, kw_only=True)
class FailingDeliveries:
    """Unsent deliveries of a shop on a channel that a vendor did not take. The names are keys of `status --json`.

    Attributes:
        status: `failed` if they wait for an operator, `pending` if they are retried.
        reason: in the vendor's words.
    """

    shop: str
    channel: str
    status: str
    reason: str
    number: int
    since: datetime


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """Unfinished redemptions of a shop, and since when the oldest should have been finished."""

    shop: str
    number: int
    oldest: datetime


# A key of an adjustment has the id of an earning. A request in progress is no `unanswered` one: it ends within 5 min.
_PURCHASES = statement(
    """
    WITH requested AS (
        SELECT k.shop_id, k.redemption_id, k.created_at AS at,
               CASE WHEN r.status = ANY(:captured) THEN 'purchased' WHEN r.status = :failed THEN NULL
                    WHEN k.status IS NOT NULL THEN 'refused'
                    WHEN r.status = :pending AND r.is_queued THEN 'queued'
                    WHEN r.status = :pending THEN 'in_progress'
                    WHEN r.id IS NULL AND (k.attempt > 1 OR k.created_at < now() - :deadline) THEN 'unanswered'
                    WHEN r.id IS NULL THEN 'in_progress' END AS outcome,
               CASE WHEN k.status >= 400 THEN k.body::jsonb #>> '{errors,0,code}' END AS code, NULL AS reason
        FROM idempotency_keys k LEFT JOIN redemptions r ON r.id = k.redemption_id
        WHERE k.created_at > now() - :window AND k.redemption_id LIKE 'cr\\_%'
    ), tried AS (
        SELECT * FROM requested WHERE outcome IS NOT NULL
        UNION ALL
        SELECT shop_id, redemption_id, failed_at, 'failed', code, reason FROM failed_attempts
        WHERE failed_at > now() - :window
    )
    SELECT s.domain AS shop, outcome, code, reason, count(*) AS number, min(at) AS since,
           (array_agg(redemption_id ORDER BY at DESC))[1] AS last
    FROM tried JOIN shops s ON s.id = tried.shop_id GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 5 DESC
    """,
    window=Interval,
    deadline=Interval,
)
# An import can have replaced the credentials. Keys are searched, as their index is by time.
_FAILING_PURCHASES = statement(
    """
    WITH failing AS (
        SELECT DISTINCT shop_id FROM failed_attempts WHERE failed_at > now() - :window
    ), sold AS (
        SELECT s.id, s.domain, greatest(s.updated_at, now() - interval '1 day', (
            SELECT r.captured_at FROM idempotency_keys k JOIN redemptions r ON r.id = k.redemption_id
            WHERE k.shop_id = s.id AND k.created_at > now() - interval '1 day' AND r.status = ANY(:captured)
            ORDER BY k.created_at DESC LIMIT 1
        )) AS at
        FROM failing JOIN shops s ON s.id = failing.shop_id
    )
    SELECT sold.domain AS shop, f.code, (array_agg(f.reason ORDER BY f.failed_at DESC))[1] AS reason,
           count(*) AS number, min(f.failed_at) AS since,
           (array_agg(f.redemption_id ORDER BY f.failed_at DESC))[1] AS last
    FROM failed_attempts f JOIN sold ON sold.id = f.shop_id AND f.failed_at > sold.at
    GROUP BY 1, 2 HAVING max(f.failed_at) > now() - :window ORDER BY 1, 2
    """,
    window=Interval,
)
_FAILING_DELIVERIES = statement("""
    SELECT s.domain AS shop, d.channel, d.status, d.last_error AS reason, count(*) AS number,
           min(CASE WHEN d.status = :undelivered THEN d.created_at ELSE d.updated_at END) AS since
    FROM deliveries d JOIN shops s ON s.id = d.shop_id
    WHERE d.status = ANY(:unsent) AND d.last_error IS NOT NULL GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 5 DESC
""")
_BACKLOG = statement("""
    WITH unfinished AS (
        SELECT shop_id, id, created_at AS since FROM redemptions
        WHERE status = :pending AND (NOT is_queued OR deadline < now())
        UNION ALL
        SELECT shop_id, redemption_id, created_at FROM deliveries WHERE status = ANY(:unsent)
        UNION ALL
        SELECT shop_id, redemption_id, created_at FROM refunds WHERE status = :requested
        UNION ALL
        SELECT shop_id, redemption_id, created_at FROM reissues WHERE status = :requested
        UNION ALL
        SELECT c.shop_id, c.redemption_id, c.created_at FROM discount_codes c JOIN redemptions r
            ON r.id = c.redemption_id AND (r.status = :failed OR r.attempt > c.attempt)
        WHERE c.state = :planned
    )
    SELECT s.domain AS shop, count(DISTINCT u.id) AS number, min(u.since) AS oldest
    FROM unfinished u JOIN shops s ON s.id = u.shop_id GROUP BY 1 ORDER BY 1
""")
_SENDING = statement(
    """
    SELECT DISTINCT s.domain AS shop, d.channel
    FROM idempotency_keys k JOIN deliveries d ON d.redemption_id = k.redemption_id JOIN shops s ON s.id = d.shop_id
    WHERE k.created_at > now() - :window AND d.sent_at IS NOT NULL
    """,
    window=Interval,
)


async def list_shops(session: AsyncSession) -> Sequence[Shop]:
    """Every shop, by domain."""
    return (await session.scalars(select(Shop).order_by(Shop.domain))).all()


async def recent_purchases(session: AsyncSession, *, deadline: timedelta) -> list[Purchases]:
    """Purchases of the last 15 minutes, by shop, outcome and reason."""
    rows = await session.execute(_PURCHASES, {"window": WINDOW, "deadline": deadline})
    return [Purchases(**row) for row in rows.mappings()]


async def failing_purchases(session: AsyncSession) -> list[FailingPurchases]:
    """Shops with failed latest purchases, by code."""
    rows = await session.execute(_FAILING_PURCHASES, {"window": WINDOW})
    return [FailingPurchases(**row) for row in rows.mappings()]


async def failing_deliveries(session: AsyncSession) -> list[FailingDeliveries]:
    """Unsent deliveries with an error, by shop, channel and reason."""
    return [FailingDeliveries(**row) for row in (await session.execute(_FAILING_DELIVERIES)).mappings()]


async def backlogs(session: AsyncSession) -> list[Backlog]:
    """Unfinished redemptions and refunds, by shop."""
    return [Backlog(**row) for row in (await session.execute(_BACKLOG)).mappings()]


async def sending_channels(session: AsyncSession) -> set[tuple[str, str]]:
    """Shop and channel of the deliveries of the last 15 minutes that were sent."""
    return {(shop, channel) for shop, channel in await session.execute(_SENDING, {"window": WINDOW})}
