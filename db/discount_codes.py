"""Queries about discount codes."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Row, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import DiscountCode, Redemption
from domain.redemptions import CAPTURED


async def find_codes(session: AsyncSession, shop_id: int, codes: Iterable[str]) -> Sequence[Row[DiscountCode, str]]:
    """Those of the codes, in any case, that this shop's redemptions ask or asked for, each with its customer's id."""
    query = select(DiscountCode, Redemption.customer_id).join(Redemption, Redemption.id == DiscountCode.redemption_id)
    ours = (DiscountCode.shop_id == shop_id, DiscountCode.state != "foreign")
    named = func.upper(DiscountCode.code).in_({code.upper() for code in codes})
    return (await session.execute(query.where(*ours, named).order_by(DiscountCode.redemption_id))).all()


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
