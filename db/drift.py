"""Queries about codes that are compared with Shopify."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Select, and_, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from database import Sessions
from db.tables import ActivityLog, DiscountCode, Redemption, Refund, Shop

# For as long as Shopify could be late with a code that nobody paid for, and a good while more.
_UNPAID_ARE_CHECKED = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A code whose turn it is. `is_paid` when its attempt is captured."""

    id: int
    shop_id: int
    redemption_id: str
    attempt: int
    customer_id: str
    code: str
    is_paid: bool


def _comparable() -> Select[int, int, str, int, str, str, bool]:
    """Codes that are settled, one way or the other, of shops that can be asked.

    A paid one while it is active and nobody asked to refund it.
    """
    code = DiscountCode
    is_paid = code.state == "live"
    kept = ~exists().where(Refund.redemption_id == Redemption.id)
    can_be_used = or_(Redemption.expires_at.is_(None), Redemption.expires_at > func.now())
    unpaid = and_(code.state.in_(["void", "fenced"]), code.created_at > func.now() - _UNPAID_ARE_CHECKED)
    columns = (code.id, code.shop_id, code.redemption_id, code.attempt, Redemption.customer_id, code.code)
    return (
        select(*columns, is_paid.label("is_paid"))
        .join(Redemption, Redemption.id == code.redemption_id)
        .join(Shop, Shop.id == code.shop_id)
        .where(
            Shop.credentials.has_key("shopify"),
            or_(and_(is_paid, Redemption.status == "active", can_be_used, kept), unpaid),
        )
    )


async def next_codes(session: AsyncSession, *, again_after: timedelta, at_most: int) -> list[Checked]:
    """The codes that were not looked at for longest; their turn is over, however the look comes out."""
    code = DiscountCode
    due = func.coalesce(code.checked_at, code.updated_at) < func.now() - again_after
    turn = _comparable().where(due).order_by(code.checked_at.nulls_first(), code.id).limit(at_most)
    codes = [Checked(**row) for row in (await session.execute(turn)).mappings()]
    # `updated_at` stays: the code itself has not changed.
    looked_at = update(code).where(code.id.in_([one.id for one in codes]))
    await session.execute(looked_at.values(checked_at=func.now(), updated_at=code.updated_at))
    return codes


async def count_codes(session: AsyncSession) -> int:
    """How many codes can be compared."""
    return (await session.execute(select(func.count()).select_from(_comparable().subquery()))).scalar_one()


async def all_codes(store: Sessions, *, at_a_time: int) -> AsyncGenerator[list[Checked]]:
    """Page by page, every code that can be compared."""
    last = 0
    while True:
        query = _comparable().where(DiscountCode.id > last).order_by(DiscountCode.id).limit(at_a_time)
        async with store() as session:
            page = [Checked(**row) for row in (await session.execute(query)).mappings()]
        if not page:
            return
        yield page
        last = page[-1].id


async def is_as_it_was(session: AsyncSession, code: Checked) -> bool:
    """Whether the code is still to be compared, and on the same side."""
    row = (await session.execute(_comparable().where(DiscountCode.id == code.id))).mappings().one_or_none()
    return row is not None and Checked(**row) == code


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
