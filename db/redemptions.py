"""Queries about redemptions. Every status change is a conditional update: the first of two concurrent ones wins."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Update, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Redemption
from domain.redemptions import USE_GRACE, RedemptionStatus


async def find_redemption(session: AsyncSession, shop_id: int, redemption_id: str) -> Redemption | None:
    """A redemption of the shop, in any status."""
    query = select(Redemption).where(Redemption.shop_id == shop_id, Redemption.id == redemption_id)
    return (await session.execute(query)).scalar_one_or_none()


async def lock_redemption(session: AsyncSession, shop_id: int, redemption_id: str) -> Redemption | None:
    """The redemption, locked until the transaction ends. The customer must be locked before."""
    query = select(Redemption).where(Redemption.shop_id == shop_id, Redemption.id == redemption_id)
    return (await session.execute(query.with_for_update())).scalar_one_or_none()


async def use(session: AsyncSession, redemption_id: str, *, at: datetime) -> bool:
    """`active` → `used`; `expired` → `used` if the order was placed in time. False: it was used before or refunded."""
    in_time = and_(Redemption.status == RedemptionStatus.EXPIRED, Redemption.expires_at + USE_GRACE > at)
    return await _changes(
        session,
        update(Redemption)
        .where(
            Redemption.id == redemption_id,
            Redemption.is_refunded.is_(False),
            or_(Redemption.status == RedemptionStatus.ACTIVE, in_time),
        )
        .values(status=RedemptionStatus.USED, discount_code_redeemed_at=at),
    )


async def refund(session: AsyncSession, redemption_id: str, attempt: int, *, may_be_used: bool = False) -> bool:
    """`active` or `expired` → `expired` and refunded. False: the code was used, or the refund was made before.

    `may_be_used`: also `used`, as the order was cancelled.
    """
    used = [RedemptionStatus.USED] if may_be_used else []
    return await _changes(
        session,
        update(Redemption)
        .where(
            Redemption.id == redemption_id,
            Redemption.status.in_([RedemptionStatus.ACTIVE, RedemptionStatus.EXPIRED, *used]),
            Redemption.attempt == attempt,
            Redemption.is_refunded.is_(False),
        )
        .values(status=RedemptionStatus.EXPIRED, is_refunded=True),
    )


async def queued_among(session: AsyncSession, redemption_ids: Sequence[str]) -> set[str]:
    """The redemptions among these that wait for their turn, before their deadline."""
    waiting = (Redemption.is_queued, Redemption.status == RedemptionStatus.PENDING, Redemption.deadline > func.now())
    return set(await session.scalars(select(Redemption.id).where(Redemption.id.in_(redemption_ids), *waiting)))


async def record_rejection(session: AsyncSession, redemption_id: str, attempt: int) -> None:
    """Record that Shopify rejected the code of this attempt permanently. Later purchases are refused for a while."""
    await session.execute(
        update(Redemption)
        .where(
            Redemption.id == redemption_id,
            Redemption.attempt == attempt,
            Redemption.status == RedemptionStatus.FAILED,
        )
        .values(rejected_at=func.now())
    )


async def expire(session: AsyncSession, *, now: datetime, limit: int) -> int:
    """`active` → `expired` for codes that no new order can use. Returns how many. The points stay spent."""
    is_over = (Redemption.status == RedemptionStatus.ACTIVE, Redemption.expires_at <= now - USE_GRACE)
    batch = select(Redemption.id).where(*is_over).order_by(Redemption.expires_at).limit(limit)
    expired = update(Redemption).where(Redemption.id.in_(batch.with_for_update(skip_locked=True)))
    expired = expired.values(status=RedemptionStatus.EXPIRED).returning(Redemption.id)
    return len((await session.scalars(expired)).all())


async def _changes(session: AsyncSession, statement: Update) -> bool:
    return (await session.execute(statement.returning(Redemption.id))).scalar_one_or_none() is not None
