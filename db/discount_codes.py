"""Queries about discount codes, and about their comparison with Shopify."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Interval, Row, Select, and_, bindparam, exists, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import DiscountCode, Redemption, Refund, Shop
from domain.discounts import CodeState
from domain.redemptions import CAPTURED, RedemptionStatus

# Shopify may commit a creation late; unpaid codes are compared for well beyond that.
_UNPAID_CODES_ARE_COMPARED = timedelta(days=7)

_CURRENT = (DiscountCode.state != CodeState.FOREIGN, DiscountCode.is_current)
"""An attempt has at most one such code."""


@dataclass(frozen=True, kw_only=True)
class ComparableCode:
    """A code to compare with Shopify. `is_paid`: its attempt is captured."""

    id: int
    shop_id: int
    shop_domain: str
    redemption_id: str
    attempt: int
    customer_id: str
    code: str
    is_paid: bool


async def lock_code(session: AsyncSession, code_id: int) -> DiscountCode:
    """One code, locked until the transaction ends."""
    query = select(DiscountCode).where(DiscountCode.id == code_id)
    return (await session.execute(query.with_for_update())).scalar_one()


async def find_current_code(
    session: AsyncSession, redemption_id: str, attempt: int, *, locked: bool = False
) -> DiscountCode | None:
    """The code of an attempt, locked on request until the transaction ends."""
    query = select(DiscountCode).where(
        DiscountCode.redemption_id == redemption_id,
        DiscountCode.attempt == attempt,
        *_CURRENT,
    )
    query = query.with_for_update() if locked else query
    return (await session.execute(query)).scalar_one_or_none()


async def queue_position(session: AsyncSession, code: DiscountCode) -> int:
    """Number of the shop's codes that are requested from Shopify before this one, plus one.

    A code without a turn is requested at once: nothing is known yet of the shop's rate limit.
    """
    if code.not_before is None:
        return 1
    earlier = (DiscountCode.shop_id == code.shop_id, DiscountCode.state == CodeState.PLANNED)
    query = select(func.count()).where(*earlier, DiscountCode.not_before < code.not_before)
    return 1 + (await session.execute(query)).scalar_one()


async def customer_code(session: AsyncSession, redemption: Redemption) -> str | None:
    """The code that the customer got, even if it no longer works. None before the capture."""
    return (await customer_codes(session, [redemption])).get(redemption.id)


async def customer_codes(session: AsyncSession, redemptions: Iterable[Redemption]) -> dict[str, str]:
    """Redemption id → the code that the customer got. Redemptions that are not captured are left out."""
    attempts = [(redemption.id, redemption.attempt) for redemption in redemptions if redemption.status in CAPTURED]
    query = select(DiscountCode.redemption_id, DiscountCode.code).where(
        tuple_(DiscountCode.redemption_id, DiscountCode.attempt).in_(attempts),
        *_CURRENT,
    )
    return {row.redemption_id: row.code for row in await session.execute(query)}


# From the first request to create the code, retries included, and before it the wait for the shop's rate limit.
_SHOPIFY_TIME = func.coalesce(
    DiscountCode.answered_at
    - DiscountCode.requested_at
    + func.greatest(DiscountCode.not_before - DiscountCode.created_at, timedelta()),
    timedelta(),
    type_=Interval,
)
# Built once, as every purchase runs it.
_CAPTURED = (
    select(Redemption, DiscountCode.code, _SHOPIFY_TIME)
    .join(DiscountCode, DiscountCode.redemption_id == Redemption.id)
    .where(
        Redemption.shop_id == bindparam("shop_id"),
        Redemption.id == bindparam("redemption_id"),
        Redemption.status.in_(CAPTURED),
        DiscountCode.attempt == Redemption.attempt,
        *_CURRENT,
    )
)


async def find_captured(
    session: AsyncSession, shop_id: int, redemption_id: str
) -> tuple[Redemption, str, timedelta] | None:
    """A captured redemption, the code that the customer got, and how long Shopify took. None: it is not captured."""
    row = (await session.execute(_CAPTURED, {"shop_id": shop_id, "redemption_id": redemption_id})).one_or_none()
    return None if row is None else (row[0], row[1], row[2])


async def find_codes(session: AsyncSession, shop_id: int, codes: Iterable[str]) -> Sequence[Row[DiscountCode, str]]:
    """The shop's discount codes among these (in any case), each with its customer's id."""
    query = select(DiscountCode, Redemption.customer_id).join(Redemption, Redemption.id == DiscountCode.redemption_id)
    ours = (DiscountCode.shop_id == shop_id, DiscountCode.state != CodeState.FOREIGN)
    named = func.upper(DiscountCode.code).in_({code.upper() for code in codes})
    return (await session.execute(query.where(*ours, named).order_by(DiscountCode.redemption_id))).all()


async def next_comparable_codes(
    session: AsyncSession, *, compared_before: timedelta, limit: int
) -> list[ComparableCode]:
    """Codes not compared for this long, longest first. They are recorded as compared, whatever the result."""
    code = DiscountCode
    due = func.coalesce(code.checked_at, code.updated_at) < func.now() - compared_before
    batch = _comparable().where(due).order_by(code.checked_at.nulls_first(), code.id).limit(limit)
    codes = [ComparableCode(**row) for row in (await session.execute(batch)).mappings()]
    # `updated_at` stays: the code itself has not changed.
    compared = update(code).where(code.id.in_([one.id for one in codes]))
    await session.execute(compared.values(checked_at=func.now(), updated_at=code.updated_at))
    return codes


async def list_comparable_codes(session: AsyncSession, *, after_id: int, limit: int) -> list[ComparableCode]:
    """One page of all codes that can be compared."""
    page = _comparable().where(DiscountCode.id > after_id).order_by(DiscountCode.id).limit(limit)
    return [ComparableCode(**row) for row in (await session.execute(page)).mappings()]


async def count_comparable_codes(session: AsyncSession) -> int:
    """Number of codes that can be compared."""
    return (await session.execute(select(func.count()).select_from(_comparable().subquery()))).scalar_one()


async def is_unchanged(session: AsyncSession, code: ComparableCode) -> bool:
    """Whether the code can still be compared and its payment has not changed."""
    row = (await session.execute(_comparable().where(DiscountCode.id == code.id))).mappings().one_or_none()
    return row is not None and ComparableCode(**row) == code


def _comparable() -> Select[int, int, str, int, str, str, str, bool]:
    """Codes of shops with Shopify credentials: active ones without refund request, and recent unpaid ones."""
    code = DiscountCode
    is_paid = code.state == CodeState.LIVE
    not_refunded = ~exists().where(Refund.redemption_id == Redemption.id)
    unexpired = or_(Redemption.expires_at.is_(None), Redemption.expires_at > func.now())
    paid = and_(is_paid, Redemption.status == RedemptionStatus.ACTIVE, unexpired, not_refunded)
    is_recent = code.created_at > func.now() - _UNPAID_CODES_ARE_COMPARED
    unpaid = and_(code.state.in_([CodeState.VOID, CodeState.FENCED]), is_recent)
    columns = (code.id, code.shop_id, code.redemption_id, code.attempt, Redemption.customer_id, code.code)
    return (
        select(*columns, Shop.domain.label("shop_domain"), is_paid.label("is_paid"))
        .join(Redemption, Redemption.id == code.redemption_id)
        .join(Shop, Shop.id == code.shop_id)
        .where(Shop.credentials.has_key("shopify"), or_(paid, unpaid))
    )
