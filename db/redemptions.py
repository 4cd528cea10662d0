"""Queries about redemptions, their codes and their deliveries. The row is the arbiter: every arrow is conditional."""

from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import ActivityLog, Redemption
from domain.redemptions import ACTIVE, EXPIRED, PENDING, USE_GRACE, USED


async def find_redemption(session: AsyncSession, shop_id: int, redemption_id: str) -> Redemption | None:
    """A redemption of this shop, in any status."""
    query = select(Redemption).where(Redemption.shop_id == shop_id, Redemption.id == redemption_id)
    return (await session.execute(query)).scalar_one_or_none()


async def lock_redemption(session: AsyncSession, shop_id: int, redemption_id: str) -> Redemption | None:
    """The redemption, locked until the transaction ends. Taken after the customer."""
    query = select(Redemption).where(Redemption.shop_id == shop_id, Redemption.id == redemption_id)
    return (await session.execute(query.with_for_update())).scalar_one_or_none()


async def capture(session: AsyncSession, redemption_id: str, attempt: int, *, now: datetime, balance: int) -> bool:
    """`pending` → `active`, unless the attempt has failed, was superseded, or is past its deadline. The pivot."""
    result = await session.execute(
        update(Redemption)
        .where(
            Redemption.id == redemption_id,
            Redemption.status == PENDING,
            Redemption.attempt == attempt,
            Redemption.deadline > func.clock_timestamp(),
        )
        .values(status=ACTIVE, captured_at=now, balance_after=balance)
        .returning(Redemption.id)
    )
    return result.scalar_one_or_none() is not None


async def use(session: AsyncSession, redemption_id: str, *, at: datetime) -> bool:
    """`active` → `used`; `expired` → `used` for an order placed in time. Refunded ones stay as they are."""
    in_time = and_(Redemption.status == EXPIRED, Redemption.expires_at + USE_GRACE > at)
    result = await session.execute(
        update(Redemption)
        .where(
            Redemption.id == redemption_id,
            Redemption.is_refunded.is_(False),
            or_(Redemption.status == ACTIVE, in_time),
        )
        .values(status=USED, discount_code_redeemed_at=at)
        .returning(Redemption.id)
    )
    return result.scalar_one_or_none() is not None


async def refund(session: AsyncSession, redemption_id: str, attempt: int) -> bool:
    """`active` or `expired` → `expired` and refunded, unless the code was used, or the refund has been made."""
    result = await session.execute(
        update(Redemption)
        .where(
            Redemption.id == redemption_id,
            Redemption.status.in_([ACTIVE, EXPIRED]),
            Redemption.attempt == attempt,
            Redemption.is_refunded.is_(False),
        )
        .values(status=EXPIRED, is_refunded=True)
        .returning(Redemption.id)
    )
    return result.scalar_one_or_none() is not None


async def expire(session: AsyncSession, *, now: datetime, at_most: int) -> int:
    """`active` → `expired` where no new order can bring the code any more; returns how many. The points stay spent."""
    over = select(Redemption.id).where(Redemption.status == ACTIVE, Redemption.expires_at <= now - USE_GRACE)
    some = over.order_by(Redemption.expires_at).limit(at_most).with_for_update(skip_locked=True)
    expired = update(Redemption).where(Redemption.id.in_(some)).values(status=EXPIRED)
    return len((await session.scalars(expired.returning(Redemption.id))).all())


def log_redemption(session: AsyncSession, redemption: Redemption) -> None:
    """Tell the merchant's activity log of the capture."""
    session.add(
        ActivityLog(
            shop_id=redemption.shop_id,
            customer_id=redemption.customer_id,
            redemption_id=redemption.id,
            kind="reward_redeemed",
            facts={
                "reward_id": redemption.reward_id,
                "reward_name": redemption.reward_name,
                "points_spent": redemption.points_spent,
            },
        )
    )


async def tell_once(session: AsyncSession, redemption: Redemption, kind: str, facts: dict[str, Any]) -> None:
    """Tell the merchant's activity log, unless it has been told of this kind. With the customer locked."""
    told = select(ActivityLog.id).where(ActivityLog.redemption_id == redemption.id, ActivityLog.kind == kind)
    if (await session.execute(told.limit(1))).first() is None:
        whose = {"shop_id": redemption.shop_id, "customer_id": redemption.customer_id}
        session.add(ActivityLog(**whose, redemption_id=redemption.id, kind=kind, facts=facts))
