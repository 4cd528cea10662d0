"""Queries about redemptions, their codes and their deliveries. The row is the arbiter: every arrow is conditional."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import ActivityLog, Delivery, DiscountCode, Redemption
from domain.events import EventKind
from domain.redemptions import ACTIVE, CAPTURED, EXPIRED, PENDING, USE_GRACE, USED


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


async def find_codes(session: AsyncSession, shop_id: int, codes: Iterable[str]) -> Sequence[Row[DiscountCode, str]]:
    """Those of the codes, in any case, that this shop's redemptions ask or asked for, each with its customer's id."""
    query = select(DiscountCode, Redemption.customer_id).join(Redemption, Redemption.id == DiscountCode.redemption_id)
    ours = (DiscountCode.shop_id == shop_id, DiscountCode.state != "foreign")
    named = func.upper(DiscountCode.code).in_({code.upper() for code in codes})
    return (await session.execute(query.where(*ours, named).order_by(DiscountCode.redemption_id))).all()


async def expire(session: AsyncSession, *, now: datetime, at_most: int) -> int:
    """`active` → `expired` where no new order can bring the code any more; returns how many. The points stay spent."""
    over = select(Redemption.id).where(Redemption.status == ACTIVE, Redemption.expires_at <= now - USE_GRACE)
    some = over.order_by(Redemption.expires_at).limit(at_most).with_for_update(skip_locked=True)
    expired = update(Redemption).where(Redemption.id.in_(some)).values(status=EXPIRED)
    return len((await session.scalars(expired.returning(Redemption.id))).all())


async def current_code(session: AsyncSession, redemption_id: str, attempt: int) -> DiscountCode | None:
    """The code this attempt uses, locked until the transaction ends."""
    query = select(DiscountCode).where(
        DiscountCode.redemption_id == redemption_id,
        DiscountCode.attempt == attempt,
        DiscountCode.state != "foreign",
    )
    return (await session.execute(query.with_for_update())).scalar_one_or_none()


async def lock_code(session: AsyncSession, code_id: int) -> DiscountCode:
    """One code, locked until the transaction ends."""
    return (
        await session.execute(select(DiscountCode).where(DiscountCode.id == code_id).with_for_update())
    ).scalar_one()


async def code_of(session: AsyncSession, redemption: Redemption) -> str | None:
    """The code the customer was given, even if it works no more; None before the capture."""
    return (await codes_of(session, [redemption])).get(redemption.id)


async def codes_of(session: AsyncSession, redemptions: Iterable[Redemption]) -> dict[str, str]:
    """Redemption → the code the customer was given, even if it works no more. Those not captured have none."""
    attempts = [(redemption.id, redemption.attempt) for redemption in redemptions if redemption.status in CAPTURED]
    query = select(DiscountCode.redemption_id, DiscountCode.code).where(
        tuple_(DiscountCode.redemption_id, DiscountCode.attempt).in_(attempts), DiscountCode.state != "foreign"
    )
    return {row.redemption_id: row.code for row in await session.execute(query)}


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


def add_deliveries(session: AsyncSession, redemption: Redemption, channels: Iterable[str], event: EventKind) -> None:
    """One delivery of the event per channel that is to be told."""
    whose = {"redemption_id": redemption.id, "shop_id": redemption.shop_id}
    session.add_all(Delivery(**whose, channel=channel, event=event) for channel in channels)


async def lock_delivery(
    session: AsyncSession, shop_id: int, redemption_id: str, channel: str, event: EventKind
) -> Delivery | None:
    """One delivery, locked until the transaction ends."""
    query = select(Delivery).where(
        Delivery.shop_id == shop_id,
        Delivery.redemption_id == redemption_id,
        Delivery.channel == channel,
        Delivery.event == event,
    )
    return (await session.execute(query.with_for_update())).scalar_one_or_none()
