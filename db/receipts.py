"""What happened to a redemption, as the ledger tells it: it outlives every history of the engine."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import (
    ActivityLog,
    Delivery,
    DiscountCode,
    LedgerEntry,
    PointLot,
    Redemption,
    RedemptionDraw,
    Refund,
    Shop,
)
from domain.events import named
from domain.refunds import REFUSED


class _Part(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class RewardAsBought(_Part):
    """What the reward was when its points were reserved."""

    id: str
    name: str
    discount_type: str
    discount_amount: Decimal | None
    minimum_spend: Decimal | None
    product_variant_id: str | None


class LotDrawn(_Part):
    """Points that one attempt took from one lot."""

    attempt: int
    lot_id: int
    source: str
    points: int


class Code(_Part):
    """A code that Shopify was, or will be, asked for; `unanswered` counts the askings whose outcome is not known."""

    attempt: int
    code: str
    state: str
    unanswered: int
    shopify_id: str | None
    created_at: datetime
    updated_at: datetime


class DeliveryMade(_Part):
    """One event on one channel, and how far telling it has come."""

    event: str
    channel: str
    status: str
    attempts: int
    last_error: str | None
    sent_at: datetime | None
    updated_at: datetime


class Reversal(_Part):
    """Points that came back: `release` before the capture, `refund` after it."""

    kind: str
    attempt: int
    points: int
    at: datetime


class LogEntry(_Part):
    """An entry of the merchant's activity log."""

    at: datetime
    kind: str
    facts: dict[str, Any]


class Step(_Part):
    """Something that happened, and when."""

    at: datetime
    what: str


class Receipt(_Part):
    """All of it, the oldest first."""

    id: str
    shop: str
    customer_id: str
    status: str
    is_refunded: bool
    attempts: int
    points_spent: int
    reward: RewardAsBought
    deadline: datetime
    expires_at: datetime | None
    steps: Sequence[Step]
    lots: Sequence[LotDrawn]
    codes: Sequence[Code]
    deliveries: Sequence[DeliveryMade]
    reversals: Sequence[Reversal]
    log: Sequence[LogEntry]


async def find_receipt(session: AsyncSession, redemption_id: str, *, shop_id: int | None = None) -> Receipt | None:
    """The redemption's receipt. An operator sees every shop's; for anybody else name the shop."""
    query = select(Redemption, Shop.domain).join(Shop, Shop.id == Redemption.shop_id)
    mine = query.where(Redemption.id == redemption_id)
    found = (await session.execute(mine if shop_id is None else mine.where(Shop.id == shop_id))).one_or_none()
    if found is None:
        return None
    row, domain = found
    movements = await _movements(session, row)
    codes = [Code.model_validate(code) for code in await _all(session, DiscountCode, row, DiscountCode.id)]
    told = await _all(session, Delivery, row, Delivery.event, Delivery.channel)
    deliveries = [DeliveryMade.model_validate(one) for one in told]
    refund = await session.get(Refund, row.id)
    steps = [*_points(movements), *_codes(codes), *_row(row), *_refund(refund), *_deliveries(deliveries)]
    return Receipt(
        id=row.id,
        shop=domain,
        customer_id=row.customer_id,
        status=row.status,
        is_refunded=row.is_refunded,
        attempts=row.attempt,
        points_spent=row.points_spent,
        reward=_reward(row),
        deadline=row.deadline,
        expires_at=row.expires_at,
        steps=sorted(steps, key=lambda step: step.at),
        lots=await _lots(session, row),
        codes=codes,
        deliveries=deliveries,
        reversals=[one for one in movements if one.kind in ("release", "refund")],
        log=[
            LogEntry(at=entry.created_at, kind=entry.kind, facts=entry.facts)
            for entry in await _all(session, ActivityLog, row, ActivityLog.id)
        ],
    )


async def _all(session: AsyncSession, table: Any, row: Redemption, *order: Any) -> Sequence[Any]:
    return (await session.scalars(select(table).where(table.redemption_id == row.id).order_by(*order))).all()


async def _lots(session: AsyncSession, row: Redemption) -> list[LotDrawn]:
    draw = RedemptionDraw
    query = select(draw.attempt, draw.lot_id, PointLot.source, draw.points).join(PointLot, PointLot.id == draw.lot_id)
    ordered = query.where(draw.redemption_id == row.id).order_by(draw.attempt, PointLot.earned_at, PointLot.id)
    return [LotDrawn.model_validate(one) for one in await session.execute(ordered)]


async def _movements(session: AsyncSession, row: Redemption) -> list[Reversal]:
    """The ledger's entries about it, those of one step together."""
    entry = LedgerEntry
    at = func.min(entry.created_at).label("at")
    query = select(entry.kind, entry.attempt, func.sum(entry.points).label("points"), at)
    grouped = query.where(entry.redemption_id == row.id).group_by(entry.kind, entry.attempt).order_by(at)
    return [Reversal.model_validate(one) for one in await session.execute(grouped)]


def _reward(row: Redemption) -> RewardAsBought:
    return RewardAsBought(
        id=row.reward_id,
        name=row.reward_name,
        discount_type=row.discount_type,
        discount_amount=row.discount_amount,
        minimum_spend=row.minimum_spend,
        product_variant_id=row.product_variant_id,
    )


_MOVED = {"reserve": "reserved", "release": "released", "refund": "refunded"}


def _points(movements: Iterable[Reversal]) -> Iterator[Step]:
    for one in movements:
        what = _MOVED.get(one.kind, one.kind)
        yield Step(at=one.at, what=f"attempt {one.attempt}: {abs(one.points)} points {what}")


def _codes(codes: Iterable[Code]) -> Iterator[Step]:
    """What became of a code that was not captured; that it was is in the redemption's own row."""
    for code in codes:
        if code.state in ("void", "fenced", "foreign"):
            yield Step(at=code.updated_at, what=f"attempt {code.attempt}: code {code.state}")


def _row(row: Redemption) -> Iterator[Step]:
    if row.captured_at is not None:
        yield Step(at=row.captured_at, what=f"attempt {row.attempt}: captured, the code is the customer's")
    if row.discount_code_redeemed_at is not None:
        yield Step(at=row.discount_code_redeemed_at, what="code used")


def _refund(refund: Refund | None) -> Iterator[Step]:
    """That it is made is told by its points."""
    if refund is not None:
        refused = ", refused: the code had been used" if refund.state == REFUSED else ""
        yield Step(at=refund.created_at, what=f"refund asked for by {refund.actor}{refused}")


def _deliveries(deliveries: Iterable[DeliveryMade]) -> Iterator[Step]:
    for one in deliveries:
        if one.status != "pending":
            yield Step(at=one.sent_at or one.updated_at, what=f"{named(one.channel, one.event)}: {one.status}")
