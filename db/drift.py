"""Queries of the sweep that compares codes with Shopify."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import ActivityLog


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A code whose turn it is. `is_paid` when its attempt is captured."""

    shop_id: int
    redemption_id: str
    attempt: int
    customer_id: str
    code: str
    is_paid: bool


# Codes that are settled, one way or the other, of shops that can be asked. A paid code is looked for while it is
# active and nobody asked to refund it; an unpaid one for as long as Shopify could be late, and a good while more.
_NEXT = text("""
    WITH turn AS (
        SELECT c.id, c.state = 'live' AS is_paid, r.customer_id
        FROM discount_codes c JOIN redemptions r ON r.id = c.redemption_id JOIN shops s ON s.id = c.shop_id
        WHERE coalesce(c.checked_at, c.updated_at) < now() - CAST(:again_after AS interval)
          AND s.credentials ? 'shopify'
          AND (c.state = 'live' AND r.status = 'active' AND (r.expires_at IS NULL OR r.expires_at > now())
                   AND NOT EXISTS (SELECT FROM refunds f WHERE f.redemption_id = r.id)
               OR c.state IN ('void', 'fenced') AND c.created_at > now() - interval '7 days')
        ORDER BY c.checked_at NULLS FIRST, c.id LIMIT :at_most
    )
    UPDATE discount_codes c SET checked_at = now() FROM turn WHERE c.id = turn.id
    RETURNING c.shop_id, c.redemption_id, c.attempt, turn.customer_id, c.code, turn.is_paid
""")


async def next_codes(session: AsyncSession, *, again_after: timedelta, at_most: int) -> list[Checked]:
    """The codes that were not looked at for longest; their turn is over, however the look comes out."""
    rows = await session.execute(_NEXT, {"again_after": again_after, "at_most": at_most})
    return [Checked(**dict(row)) for row in rows.mappings().all()]


async def report(session: AsyncSession, code: Checked, kind: str) -> None:
    """Tell the merchant's activity log."""
    session.add(
        ActivityLog(
            shop_id=code.shop_id,
            customer_id=code.customer_id,
            redemption_id=code.redemption_id,
            kind=kind,
            facts={"attempt": code.attempt},
        )
    )
