"""Queries about stale metafields: customers whose metafield at Shopify no longer has their state."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Customer, StaleMetafield


@dataclass(frozen=True, kw_only=True)
class Stale:
    """A customer whose metafield must be written, and the time of the last change."""

    shop_id: int
    customer_id: str
    changed_at: datetime


async def mark_stale(session: AsyncSession, shop_id: int, customer_id: str) -> None:
    """Mark the customer's metafield as stale. Erased customers are skipped.

    Called for every change of a locked customer's points or status that delivers no event.
    """
    await _mark(session, Customer.shop_id == shop_id, Customer.id == customer_id)


async def mark_all_stale(session: AsyncSession, shop_id: int, customer_ids: Collection[str]) -> None:
    """`mark_stale` for several locked customers."""
    await _mark(session, Customer.shop_id == shop_id, Customer.id.in_(customer_ids))


async def mark_members_stale(
    session: AsyncSession, shop_id: int, vip_tier_id: str, *, after: str, limit: int
) -> str | None:
    """Lock up to `limit` members of the tier, then mark their metafields as stale, as they contain its name.

    Members are taken by id, those greater than `after`. Returns the last one, None if there was none.
    """
    members = (Customer.shop_id == shop_id, Customer.vip_tier_id == vip_tier_id, Customer.id > after)
    query = select(Customer.id).where(*members).order_by(Customer.id).limit(limit).with_for_update()
    ids = (await session.scalars(query)).all()
    await mark_all_stale(session, shop_id, ids)
    return ids[-1] if ids else None


async def delete_stale(session: AsyncSession, shop_id: int, customer_ids: Sequence[str]) -> None:
    """Delete the marks of these customers."""
    marks = (StaleMetafield.shop_id == shop_id, StaleMetafield.customer_id.in_(customer_ids))
    await session.execute(delete(StaleMetafield).where(*marks))


# A few of each shop, so that neither a shop with many nor one that is unreachable delays the others.
# Shops without Shopify credentials keep their marks until they have them.
_NEXT = text("""
    WITH waiting AS (
        SELECT s.id, (SELECT min(due_at) FROM stale_metafields m WHERE m.shop_id = s.id) AS since
        FROM shops s WHERE s.credentials ? 'shopify'
    ), batch AS (
        SELECT few.shop_id, few.customer_id
        FROM (SELECT id FROM waiting WHERE since <= now() ORDER BY since LIMIT :shops) shop
        CROSS JOIN LATERAL (
            SELECT * FROM stale_metafields m WHERE m.shop_id = shop.id AND m.due_at <= now()
            ORDER BY m.due_at LIMIT :per_shop FOR UPDATE SKIP LOCKED
        ) few
    )
    UPDATE stale_metafields m SET due_at = now() + CAST(:retry_after AS interval)
    FROM batch WHERE (m.shop_id, m.customer_id) = (batch.shop_id, batch.customer_id)
    RETURNING m.shop_id, m.customer_id, m.changed_at
""")


async def next_stale(session: AsyncSession, *, shops: int, per_shop: int, retry_after: timedelta) -> list[Stale]:
    """The oldest marks of up to `shops` shops. A mark that is not cleared is due again after `retry_after`."""
    limits = {"shops": shops, "per_shop": per_shop, "retry_after": retry_after}
    return [Stale(**dict(row)) for row in (await session.execute(_NEXT, limits)).mappings().all()]


async def clear_stale(session: AsyncSession, stale: Stale) -> None:
    """Delete the mark, unless the customer has changed again since."""
    mark = (StaleMetafield.shop_id == stale.shop_id, StaleMetafield.customer_id == stale.customer_id)
    await session.execute(delete(StaleMetafield).where(*mark, StaleMetafield.changed_at == stale.changed_at))


async def _mark(session: AsyncSession, *conditions: ColumnElement[bool]) -> None:
    times = {"changed_at": func.clock_timestamp(), "due_at": func.clock_timestamp()}
    customers = select(Customer.shop_id, Customer.id, *times.values()).where(*conditions, Customer.erased_at.is_(None))
    marks = insert(StaleMetafield).from_select(["shop_id", "customer_id", *times], customers)
    await session.execute(marks.on_conflict_do_update(index_elements=["shop_id", "customer_id"], set_=times))
