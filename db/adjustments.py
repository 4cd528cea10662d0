"""Adjustments: points added or deducted by hand."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db import points, transactions
from db.activity_log import log_customer
from db.customers import write_change
from db.tables import Customer, Earning, LedgerEntry, PointLot, VipTier
from domain.activity_log import ActivityKind
from domain.points import EarningAction, EntryKind, draw_fifo
from domain.tiers import tier_after


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """A requested adjustment. `points` is signed; `moves_lifetime`: lifetime points change with them."""

    id: str
    points: int
    moves_lifetime: bool
    note: str | None
    actor: str


@dataclass(frozen=True, kw_only=True)
class Adjusted:
    """The points that were moved, and the balance before and after."""

    points: int
    before: int
    after: int


async def adjust(session: AsyncSession, customer: Customer, requested: Adjustment) -> Adjusted:
    """Add points to a locked customer, or deduct as many of the requested points as the balance has.

    Added points are a lot of their own that does not expire. If nothing is moved, nothing is written.
    """
    now = await transactions.now(session)
    before = await points.balance(session, customer.shop_id, customer.id, now=now)
    moved = max(requested.points, -before)
    if moved:
        lifetime = customer.lifetime_points
        lot = await _add(session, customer, requested, now) if moved > 0 else None
        if moved < 0:
            await _deduct(session, customer, requested, -moved, now)
        session.add(_earning(customer, requested, lot, moved, now))
        await session.flush()
        await session.refresh(customer)
        await _update_tier(session, customer, lifetime)
        await write_change(session, customer)
        facts = {"earning_id": requested.id, "asked": requested.points, "points": moved}
        facts |= {"actor": requested.actor, "note": requested.note}
        log_customer(session, customer.shop_id, customer.id, ActivityKind.POINTS_ADJUSTED, facts)
    return Adjusted(points=moved, before=before, after=before + moved)


async def _add(session: AsyncSession, customer: Customer, requested: Adjustment, now: datetime) -> PointLot:
    lot = PointLot(
        shop_id=customer.shop_id,
        customer_id=customer.id,
        points=requested.points,
        remaining=requested.points,
        earned_at=now,
        source="adjustment",
    )
    session.add(lot)
    await session.flush()
    session.add(_entry(lot, requested.points, lifetime=requested.points if requested.moves_lifetime else 0))
    return lot


async def _deduct(
    session: AsyncSession, customer: Customer, requested: Adjustment, deducted: int, now: datetime
) -> None:
    lots = await points.lock_lots(session, customer.shop_id, customer.id, now=now)
    by_id = {lot.id: lot for lot in lots}
    # Points that never counted as earned can be deducted too: lifetime points stop at zero.
    earned = customer.lifetime_points if requested.moves_lifetime else 0
    for draw in draw_fifo(points.as_domain(lots), deducted, now=now):
        by_id[draw.lot_id].remaining -= draw.points
        unearned = min(draw.points, earned)
        earned -= unearned
        session.add(_entry(by_id[draw.lot_id], -draw.points, lifetime=-unearned))


def _entry(lot: PointLot, moved: int, *, lifetime: int) -> LedgerEntry:
    ids = {"shop_id": lot.shop_id, "customer_id": lot.customer_id, "lot_id": lot.id}
    return LedgerEntry(**ids, points=moved, lifetime_points=lifetime, kind=EntryKind.ADJUST)


def _earning(customer: Customer, requested: Adjustment, lot: PointLot | None, moved: int, now: datetime) -> Earning:
    return Earning(
        id=requested.id,
        shop_id=customer.shop_id,
        customer_id=customer.id,
        lot_id=lot and lot.id,
        action=EarningAction.ADJUSTMENT,
        points=moved,
        created_at=now,
    )


async def _update_tier(session: AsyncSession, customer: Customer, before: int) -> None:
    tiers = await session.scalars(select(VipTier).where(VipTier.shop_id == customer.shop_id))
    required = {tier.id: tier.points_required for tier in tiers}
    customer.vip_tier_id = tier_after(customer.vip_tier_id, required, before=before, after=customer.lifetime_points)
