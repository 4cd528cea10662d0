"""Points given and taken by hand."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db import points, transactions
from db.customers import state_changed
from db.tables import ActivityLog, Customer, Earning, LedgerEntry, PointLot, VipTier
from domain.points import draw_fifo
from domain.tiers import tier_after


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """What is asked for: `points` is signed, and `moves_lifetime` says whether the lifetime points go with them."""

    id: str
    points: int
    moves_lifetime: bool
    note: str | None


@dataclass(frozen=True, kw_only=True)
class Adjusted:
    """What was done, and the balance before and after."""

    points: int
    before: int
    after: int


async def adjust(session: AsyncSession, customer: Customer, asked: Adjustment) -> Adjusted:
    """Give the customer points, or take as many of the points asked for as there are. The customer is locked.

    Given points are a lot of their own that does not expire. Where there is nothing to take, nothing is written.
    """
    now = await transactions.now(session)
    before = await points.balance(session, customer.shop_id, customer.id, now=now)
    done = max(asked.points, -before)
    if done:
        lifetime = customer.lifetime_points
        lot = await _give(session, customer, asked, now) if done > 0 else None
        if done < 0:
            await _take(session, customer, asked, -done, now)
        session.add(_earning(customer, asked, lot, done, now))
        await session.flush()
        await session.refresh(customer)
        await _follow_with_the_tier(session, customer, lifetime)
        await state_changed(session, customer)
        _log(session, customer, asked, done)
    return Adjusted(points=done, before=before, after=before + done)


async def _give(session: AsyncSession, customer: Customer, asked: Adjustment, now: datetime) -> PointLot:
    lot = PointLot(
        shop_id=customer.shop_id,
        customer_id=customer.id,
        points=asked.points,
        remaining=asked.points,
        earned_at=now,
        source="adjustment",
    )
    session.add(lot)
    await session.flush()
    session.add(_entry(lot, asked.points, lifetime=asked.points if asked.moves_lifetime else 0))
    return lot


async def _take(session: AsyncSession, customer: Customer, asked: Adjustment, taken: int, now: datetime) -> None:
    lots = await points.lock_lots(session, customer.shop_id, customer.id, now=now)
    by_id = {lot.id: lot for lot in lots}
    # Points that never counted as earned can be taken too: the lifetime points stop at zero.
    earned = customer.lifetime_points if asked.moves_lifetime else 0
    for draw in draw_fifo(points.as_domain(lots), taken, now=now):
        by_id[draw.lot_id].remaining -= draw.points
        unearned = min(draw.points, earned)
        earned -= unearned
        session.add(_entry(by_id[draw.lot_id], -draw.points, lifetime=-unearned))


def _entry(lot: PointLot, moved: int, *, lifetime: int) -> LedgerEntry:
    whose = {"shop_id": lot.shop_id, "customer_id": lot.customer_id}
    return LedgerEntry(**whose, lot_id=lot.id, points=moved, lifetime_points=lifetime, kind="adjust")


def _earning(customer: Customer, asked: Adjustment, lot: PointLot | None, done: int, now: datetime) -> Earning:
    return Earning(
        id=asked.id,
        shop_id=customer.shop_id,
        customer_id=customer.id,
        lot_id=lot and lot.id,
        action="adjustment",
        points=done,
        created_at=now,
    )


async def _follow_with_the_tier(session: AsyncSession, customer: Customer, before: int) -> None:
    tiers = await session.scalars(select(VipTier).where(VipTier.shop_id == customer.shop_id))
    required = {tier.id: tier.points_required for tier in tiers}
    customer.vip_tier_id = tier_after(customer.vip_tier_id, required, before=before, after=customer.lifetime_points)


def _log(session: AsyncSession, customer: Customer, asked: Adjustment, done: int) -> None:
    facts = {"earning_id": asked.id, "asked": asked.points, "points": done, "note": asked.note}
    session.add(ActivityLog(shop_id=customer.shop_id, customer_id=customer.id, kind="points_adjusted", facts=facts))
