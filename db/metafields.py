"""Queries about customers whose loyalty metafield at Shopify no longer tells how they stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Customer, StaleMetafield


@dataclass(frozen=True, kw_only=True)
class Stale:
    """A customer whose metafield is to be written, and the last change that it does not tell of."""

    shop_id: int
    customer_id: str
    changed_at: datetime


async def mark_stale(session: AsyncSession, shop_id: int, customer_id: str) -> None:
    """Have the metafield written soon after this transaction; of those who were erased nothing is told any more.

    Called by whatever changes a locked customer's points or standing without announcing a redemption.
    """
    await _mark(session, Customer.shop_id == shop_id, Customer.id == customer_id)


async def mark_members_stale(session: AsyncSession, shop_id: int, vip_tier_id: str) -> None:
    """Have the metafields of everybody on that tier written, as they tell its name."""
    await _mark(session, Customer.shop_id == shop_id, Customer.vip_tier_id == vip_tier_id)


async def _mark(session: AsyncSession, *whose: ColumnElement[bool]) -> None:
    moment = {"changed_at": func.clock_timestamp(), "due_at": func.clock_timestamp()}
    who = select(Customer.shop_id, Customer.id, *moment.values()).where(*whose, Customer.erased_at.is_(None))
    mark = insert(StaleMetafield).from_select(["shop_id", "customer_id", *moment], who)
    await session.execute(mark.on_conflict_do_update(index_elements=["shop_id", "customer_id"], set_=moment))


async def forget_stale(session: AsyncSession, shop_id: int, customer_ids: Sequence[str]) -> None:
    """Tell nothing more of these customers."""
    mine = (StaleMetafield.shop_id == shop_id, StaleMetafield.customer_id.in_(customer_ids))
    await session.execute(delete(StaleMetafield).where(*mine))


# A few of each shop, so that neither a shop with many nor one that cannot be reached keeps the others waiting.
# Shops without Shopify keep their marks until they have it.
_NEXT = text("""
    WITH waiting AS (
        SELECT s.id, (SELECT min(due_at) FROM stale_metafields m WHERE m.shop_id = s.id) AS since
        FROM shops s WHERE s.credentials ? 'shopify'
    ), turn AS (
        SELECT few.shop_id, few.customer_id
        FROM (SELECT id FROM waiting WHERE since <= now() ORDER BY since LIMIT :shops) shop
        CROSS JOIN LATERAL (
            SELECT * FROM stale_metafields m WHERE m.shop_id = shop.id AND m.due_at <= now()
            ORDER BY m.due_at LIMIT :of_each FOR UPDATE SKIP LOCKED
        ) few
    )
    UPDATE stale_metafields m SET due_at = now() + CAST(:again_after AS interval)
    FROM turn WHERE (m.shop_id, m.customer_id) = (turn.shop_id, turn.customer_id)
    RETURNING m.shop_id, m.customer_id, m.changed_at
""")


async def next_stale(session: AsyncSession, *, shops: int, of_each: int, again_after: timedelta) -> list[Stale]:
    """Those that have waited longest, of so many shops; what is not cleared has its turn again after that time."""
    numbers = {"shops": shops, "of_each": of_each, "again_after": again_after}
    return [Stale(**dict(row)) for row in (await session.execute(_NEXT, numbers)).mappings().all()]


async def clear_stale(session: AsyncSession, stale: Stale) -> None:
    """Nothing is left to be told, unless there was another change meanwhile."""
    mine = (StaleMetafield.shop_id == stale.shop_id, StaleMetafield.customer_id == stale.customer_id)
    await session.execute(delete(StaleMetafield).where(*mine, StaleMetafield.changed_at == stale.changed_at))
