"""Queries about points. Every movement changes a lot's `remaining` and adds a ledger entry, in one transaction."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import LedgerEntry, PointLot, Redemption, RedemptionDraw
from domain.points import EntryKind, Lot, expiry_after_release


def balance_sql(shop_id: str, customer_id: str) -> str:
    """SQL of the spendable points of a customer. Its ids are given as expressions."""
    return f"""(
        SELECT coalesce(sum(l.remaining), 0)::bigint FROM point_lots l
        WHERE l.shop_id = {shop_id} AND l.customer_id = {customer_id} AND l.remaining > 0
          AND (l.expires_at IS NULL OR l.expires_at > clock_timestamp())
    )"""


def _spendable(shop_id: int, now: datetime) -> tuple[ColumnElement[bool], ...]:
    unexpired = or_(PointLot.expires_at.is_(None), PointLot.expires_at > now)
    return (PointLot.shop_id == shop_id, PointLot.remaining > 0, unexpired)


async def balance(session: AsyncSession, shop_id: int, customer_id: str, *, now: datetime) -> int:
    """Points that the customer can spend."""
    points, _ = (await balances(session, shop_id, [customer_id], now=now)).get(customer_id, (0, None))
    return points


async def balances(
    session: AsyncSession, shop_id: int, customer_ids: Sequence[str], *, now: datetime
) -> dict[str, tuple[int, datetime | None]]:
    """Customer id → spendable points and their next expiry. Customers without points are left out."""
    query = (
        select(PointLot.customer_id, func.sum(PointLot.remaining), func.min(PointLot.expires_at))
        .where(*_spendable(shop_id, now), PointLot.customer_id.in_(customer_ids))
        .group_by(PointLot.customer_id)
    )
    return {customer: (int(points), expiry) for customer, points, expiry in await session.execute(query)}


async def spendable_lots(session: AsyncSession, shop_id: int, customer_id: str, *, now: datetime) -> Sequence[PointLot]:
    """The customer's spendable lots, in draw order."""
    return (await session.scalars(_lots(shop_id, customer_id, now))).all()


async def lock_lots(session: AsyncSession, shop_id: int, customer_id: str, *, now: datetime) -> Sequence[PointLot]:
    """The customer's spendable lots, locked in draw order."""
    return (await session.scalars(_lots(shop_id, customer_id, now).with_for_update())).all()


def _lots(shop_id: int, customer_id: str, now: datetime) -> Select[PointLot]:
    query = select(PointLot).where(*_spendable(shop_id, now), PointLot.customer_id == customer_id)
    return query.order_by(PointLot.earned_at, PointLot.id)


def as_domain(lots: Iterable[PointLot]) -> list[Lot]:
    """Lots for `draw_fifo`."""
    return [Lot(id=lot.id, remaining=lot.remaining, earned_at=lot.earned_at, expires_at=lot.expires_at) for lot in lots]


async def return_points(
    session: AsyncSession,
    redemption: Redemption,
    kind: EntryKind,
    *,
    grace: timedelta,
    now: datetime,
) -> None:
    """Return to each lot exactly the points that this attempt drew from it. `kind`: `RELEASE` or `REFUND`."""
    drawn = (RedemptionDraw.redemption_id == redemption.id, RedemptionDraw.attempt == redemption.attempt)
    query = select(PointLot, RedemptionDraw.points).join(RedemptionDraw, RedemptionDraw.lot_id == PointLot.id)
    locked = query.where(*drawn).order_by(PointLot.earned_at, PointLot.id).with_for_update(of=PointLot)
    for drawn_from, points in (await session.execute(locked)).all():
        lot = await _lot_to_restore(session, drawn_from, points, now)
        lot.remaining += points
        lot.expires_at = expiry_after_release(lot.expires_at, now=now, grace=grace)
        session.add(_entry(redemption, lot.id, points, kind))
    await session.flush()


async def owners_of_expired_lots(session: AsyncSession, *, now: datetime, lots: int) -> list[tuple[int, str]]:
    """Shop id and customer id of the `lots` lots that expired longest ago and still hold points."""
    expired = select(PointLot.shop_id, PointLot.customer_id).where(PointLot.remaining > 0, PointLot.expires_at <= now)
    longest = expired.order_by(PointLot.expires_at).limit(lots).subquery()
    return [(shop_id, customer_id) for shop_id, customer_id in await session.execute(select(longest).distinct())]


# One statement for all lots of a customer, as a sweep covers many customers.
_EXPIRE = text("""
    WITH emptied AS (
        UPDATE point_lots lot SET remaining = 0
        FROM (SELECT id, remaining FROM point_lots
              WHERE shop_id = :shop_id AND customer_id = :customer_id AND remaining > 0 AND expires_at <= :now
              FOR UPDATE) before
        WHERE lot.id = before.id
        RETURNING lot.shop_id, lot.customer_id, lot.id, before.remaining AS points
    ), written AS (
        INSERT INTO ledger_entries (shop_id, customer_id, lot_id, points, kind)
        SELECT shop_id, customer_id, id, -points, 'expire' FROM emptied
    )
    SELECT coalesce(sum(points), 0) FROM emptied
""")


async def expire_lots(session: AsyncSession, shop_id: int, customer_id: str, *, now: datetime) -> int:
    """Empty the expired lots of a locked customer; returns the number of expired points. Safe to repeat.

    Reserved points are not in `remaining`, so they can still be released.
    """
    values = {"shop_id": shop_id, "customer_id": customer_id, "now": now}
    return int((await session.execute(_EXPIRE, values)).scalar_one())


async def _lot_to_restore(session: AsyncSession, lot: PointLot, points: int, now: datetime) -> PointLot:
    """The lot itself, or a new one if the lot holds expired points: those must not become spendable again."""
    if lot.remaining == 0 or lot.expires_at is None or lot.expires_at > now:
        return lot
    rest = PointLot(
        shop_id=lot.shop_id,
        customer_id=lot.customer_id,
        points=points,
        remaining=0,
        earned_at=lot.earned_at,
        expires_at=lot.expires_at,
        source=lot.source,
    )
    session.add(rest)
    await session.flush()
    return rest


def _entry(redemption: Redemption, lot_id: int, points: int, kind: EntryKind) -> LedgerEntry:
    return LedgerEntry(
        shop_id=redemption.shop_id,
        customer_id=redemption.customer_id,
        lot_id=lot_id,
        points=points,
        kind=kind,
        redemption_id=redemption.id,
        attempt=redemption.attempt,
    )
