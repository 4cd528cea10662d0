"""Queries that move points. Every movement is a lot's `remaining` and its ledger entry, in one transaction."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, Select, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import LedgerEntry, PointLot, Redemption, RedemptionDraw
from domain.points import Draw, Lot, expiry_after_release


def _spendable(shop_id: int, now: datetime) -> tuple[ColumnElement[bool], ...]:
    unexpired = or_(PointLot.expires_at.is_(None), PointLot.expires_at > now)
    return (PointLot.shop_id == shop_id, PointLot.remaining > 0, unexpired)


async def balance(session: AsyncSession, shop_id: int, customer_id: str, *, now: datetime) -> int:
    """Points the customer can spend."""
    points, _ = (await standings(session, shop_id, [customer_id], now=now)).get(customer_id, (0, None))
    return points


async def standings(
    session: AsyncSession, shop_id: int, customer_ids: Sequence[str], *, now: datetime
) -> dict[str, tuple[int, datetime | None]]:
    """What each of the customers can spend, and when they next lose some of it. Who has nothing is left out."""
    query = (
        select(PointLot.customer_id, func.sum(PointLot.remaining), func.min(PointLot.expires_at))
        .where(*_spendable(shop_id, now), PointLot.customer_id.in_(customer_ids))
        .group_by(PointLot.customer_id)
    )
    return {customer: (int(points), expiry) for customer, points, expiry in await session.execute(query)}


async def spendable_lots(session: AsyncSession, shop_id: int, customer_id: str, *, now: datetime) -> Sequence[PointLot]:
    """The customer's spendable lots, in the order in which they are drawn."""
    return (await session.scalars(_lots(shop_id, customer_id, now))).all()


async def lock_lots(session: AsyncSession, shop_id: int, customer_id: str, *, now: datetime) -> Sequence[PointLot]:
    """The same lots, locked in that order."""
    return (await session.scalars(_lots(shop_id, customer_id, now).with_for_update())).all()


def _lots(shop_id: int, customer_id: str, now: datetime) -> Select[PointLot]:
    query = select(PointLot).where(*_spendable(shop_id, now), PointLot.customer_id == customer_id)
    return query.order_by(PointLot.earned_at, PointLot.id)


def as_domain(lots: Iterable[PointLot]) -> list[Lot]:
    """Rows as the pure draw takes them."""
    return [Lot(id=lot.id, remaining=lot.remaining, earned_at=lot.earned_at, expires_at=lot.expires_at) for lot in lots]


async def draw_points(
    session: AsyncSession, redemption: Redemption, lots: Iterable[PointLot], draws: list[Draw]
) -> None:
    """Write what the redemption's attempt draws."""
    by_id = {lot.id: lot for lot in lots}
    for draw in draws:
        by_id[draw.lot_id].remaining -= draw.points
        session.add(
            RedemptionDraw(
                redemption_id=redemption.id, attempt=redemption.attempt, lot_id=draw.lot_id, points=draw.points
            )
        )
        session.add(_entry(redemption, draw.lot_id, -draw.points, "reserve"))
    await session.flush()


async def give_back(
    session: AsyncSession,
    redemption: Redemption,
    kind: Literal["release", "refund"],
    *,
    grace: timedelta,
    now: datetime,
) -> None:
    """Give each lot exactly what this attempt drew from it; what the customer earned meanwhile stays."""
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
    """Shop and customer of the lots that ran out longest ago with points in them, for this many lots."""
    expired = select(PointLot.shop_id, PointLot.customer_id).where(PointLot.remaining > 0, PointLot.expires_at <= now)
    longest = expired.order_by(PointLot.expires_at).limit(lots).subquery()
    return [(shop_id, customer_id) for shop_id, customer_id in await session.execute(select(longest).distinct())]


# One statement for all of a customer's lots: sweeps are long.
_EXPIRE = text("""
    WITH gone AS (
        UPDATE point_lots lot SET remaining = 0
        FROM (SELECT id, remaining FROM point_lots
              WHERE shop_id = :shop_id AND customer_id = :customer_id AND remaining > 0 AND expires_at <= :now
              FOR UPDATE) was
        WHERE lot.id = was.id
        RETURNING lot.shop_id, lot.customer_id, lot.id, was.remaining AS points
    ), written AS (
        INSERT INTO ledger_entries (shop_id, customer_id, lot_id, points, kind)
        SELECT shop_id, customer_id, id, -points, 'expire' FROM gone
    )
    SELECT coalesce(sum(points), 0) FROM gone
""")


async def expire_lots(session: AsyncSession, shop_id: int, customer_id: str, *, now: datetime) -> int:
    """Empty the lots of a locked customer that have run out; returns how many points are gone with them.

    Points that are reserved are not in `remaining`, so they can still come back. An emptied lot cannot expire again,
    which is what makes this safe to repeat.
    """
    whose = {"shop_id": shop_id, "customer_id": customer_id}
    return int((await session.execute(_EXPIRE, {**whose, "now": now})).scalar_one())


async def _lot_to_restore(session: AsyncSession, lot: PointLot, points: int, now: datetime) -> PointLot:
    """The lot itself, unless others of its points have expired: those must not come back to life with ours."""
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


def _entry(redemption: Redemption, lot_id: int, points: int, kind: str) -> LedgerEntry:
    return LedgerEntry(
        shop_id=redemption.shop_id,
        customer_id=redemption.customer_id,
        lot_id=lot_id,
        points=points,
        kind=kind,
        redemption_id=redemption.id,
        attempt=redemption.attempt,
    )
