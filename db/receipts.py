"""The receipt of a redemption, from the ledger: it is complete after Temporal has deleted the history."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import (
    ActivityLog,
    Delivery,
    DiscountCode,
    FailedAttempt,
    IdempotencyKey,
    LedgerEntry,
    PointLot,
    Redemption,
    RedemptionDraw,
    Refund,
    Reissue,
    Shop,
)
from domain.deliveries import DeliveryStatus
from domain.discounts import CodeState
from domain.events import channel_label
from domain.points import REVERSALS, EntryKind
from domain.refunds import RefundStatus
from domain.reissues import ReissueStatus


class _Part(BaseModel):
    model_config = ConfigDict(from_attributes=True)


Part = TypeVar("Part", bound=_Part)


class RewardAsBought(_Part):
    """The reward at the time of the reservation."""

    id: str = Field(validation_alias="reward_id")
    name: str = Field(validation_alias="reward_name")
    discount_type: str
    discount_amount: Decimal | None
    minimum_spend: Decimal | None
    product_variant_id: str | None


class LotDrawn(_Part):
    """Points that one attempt drew from one lot."""

    attempt: int
    lot_id: int
    source: str
    points: int


class Code(_Part):
    """A discount code. `unanswered`: creations whose outcome is unknown."""

    attempt: int
    code: str
    state: str
    unanswered: int = Field(validation_alias="unknown_outcomes")
    shopify_id: str | None
    created_at: datetime
    updated_at: datetime


class DeliveryMade(_Part):
    """One event on one channel."""

    event: str
    channel: str
    status: str
    attempts: int
    last_error: str | None
    sent_at: datetime | None
    updated_at: datetime


class Reversal(_Part):
    """Points returned to their lots: `release` before the capture, `refund` after it."""

    kind: EntryKind
    attempt: int
    points: int
    at: datetime


class ReissueMade(_Part):
    """The reissue of the code after a cancelled order. `reissued_at`: None until the customer has the new code."""

    order_id: str
    status: str
    requested_at: datetime = Field(validation_alias="created_at")
    reissued_at: datetime | None
    expires_at: datetime | None


class Failure(_Part):
    """Why an attempt failed. `reason`: None if the customer was erased."""

    attempt: int
    code: str
    reason: str | None
    at: datetime = Field(validation_alias="failed_at")


class LogEntry(_Part):
    at: datetime = Field(validation_alias="created_at")
    kind: str
    facts: dict[str, Any]


class Step(_Part):
    at: datetime
    what: str


class Receipt(_Part):
    """The receipt. Lists are ordered oldest first."""

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
    reissues: Sequence[ReissueMade]
    failures: Sequence[Failure]
    log: Sequence[LogEntry]


class PurchaseRequest(_Part):
    """A purchase without a redemption: `refused`, or `requested` and not taken by a worker yet."""

    id: str
    shop: str
    status: str
    attempts: int
    requested_at: datetime


async def find_request(session: AsyncSession, redemption_id: str) -> PurchaseRequest | None:
    """The request that has this id. For operators only, as it can be of any shop."""
    query = select(IdempotencyKey, Shop.domain).join(Shop, Shop.id == IdempotencyKey.shop_id)
    found = (await session.execute(query.where(IdempotencyKey.redemption_id == redemption_id))).one_or_none()
    # The key of an adjustment has the id of an earning.
    if found is None or not redemption_id.startswith("cr_"):
        return None
    key, domain = found
    status = "requested" if key.status is None else "refused"
    values = {"id": redemption_id, "shop": domain, "status": status}
    return PurchaseRequest(**values, attempts=key.attempt, requested_at=key.created_at)


async def find_receipt(session: AsyncSession, redemption_id: str, *, shop_id: int | None = None) -> Receipt | None:
    """The redemption's receipt. Without `shop_id` redemptions of every shop are found: for operators only."""
    query = select(Redemption, Shop.domain).join(Shop, Shop.id == Redemption.shop_id)
    query = query.where(Redemption.id == redemption_id)
    query = query if shop_id is None else query.where(Shop.id == shop_id)
    found = (await session.execute(query)).one_or_none()
    if found is None:
        return None
    row, domain = found
    movements = await _movements(session, row)
    codes = await _all(session, Code, DiscountCode, row, DiscountCode.id)
    deliveries = await _all(session, DeliveryMade, Delivery, row, Delivery.event, Delivery.channel)
    failures = await _all(session, Failure, FailedAttempt, row, FailedAttempt.attempt)
    reissues = await _all(session, ReissueMade, Reissue, row, Reissue.number)
    steps = [
        *chain.from_iterable(map(_reissue_steps, reissues)),
        *_steps(row, movements, codes, await session.get(Refund, row.id), deliveries),
        *(Step(at=one.at, what=f"attempt {one.attempt}: failed, {one.reason or one.code}") for one in failures),
    ]
    return Receipt(
        id=row.id,
        shop=domain,
        customer_id=row.customer_id,
        status=row.shown_status,
        is_refunded=row.is_refunded,
        attempts=row.attempt,
        points_spent=row.points_spent,
        reward=RewardAsBought.model_validate(row),
        deadline=row.deadline,
        expires_at=row.expires_at,
        steps=sorted(steps, key=lambda step: step.at),
        lots=await _lots(session, row),
        codes=codes,
        deliveries=deliveries,
        reissues=reissues,
        reversals=[one for one in movements if one.kind in REVERSALS],
        failures=failures,
        log=await _all(session, LogEntry, ActivityLog, row, ActivityLog.id),
    )


async def _all(session: AsyncSession, part: type[Part], table: Any, row: Redemption, *order: Any) -> list[Part]:
    query = select(table).where(table.redemption_id == row.id).order_by(*order)
    return [part.model_validate(one) for one in await session.scalars(query)]


async def _lots(session: AsyncSession, row: Redemption) -> list[LotDrawn]:
    draw = RedemptionDraw
    query = select(draw.attempt, draw.lot_id, PointLot.source, draw.points).join(PointLot, PointLot.id == draw.lot_id)
    ordered = query.where(draw.redemption_id == row.id).order_by(draw.attempt, PointLot.earned_at, PointLot.id)
    return [LotDrawn.model_validate(one) for one in await session.execute(ordered)]


async def _movements(session: AsyncSession, row: Redemption) -> list[Reversal]:
    """The redemption's ledger entries, summed by attempt and kind."""
    entry = LedgerEntry
    at = func.min(entry.created_at).label("at")
    query = select(entry.kind, entry.attempt, func.sum(entry.points).label("points"), at)
    grouped = query.where(entry.redemption_id == row.id).group_by(entry.kind, entry.attempt).order_by(at)
    return [Reversal.model_validate(one) for one in await session.execute(grouped)]


def _reissue_steps(reissue: ReissueMade) -> Iterator[Step]:
    refused = ", refused: another order used the code" if reissue.status == ReissueStatus.REFUSED else ""
    yield Step(at=reissue.requested_at, what=f"reissue requested for order {reissue.order_id}{refused}")
    if reissue.reissued_at is not None:
        yield Step(at=reissue.reissued_at, what="reissued, the customer has the new code")


_MOVED = {EntryKind.RESERVE: "reserved", EntryKind.RELEASE: "released", EntryKind.REFUND: "refunded"}


def _steps(
    row: Redemption,
    movements: Iterable[Reversal],
    codes: Iterable[Code],
    refund: Refund | None,
    deliveries: Iterable[DeliveryMade],
) -> Iterator[Step]:
    for one in movements:
        yield Step(at=one.at, what=f"attempt {one.attempt}: {abs(one.points)} points {_MOVED[one.kind]}")
    for code in codes:
        # The capture of a code is a step of the redemption.
        if code.state in (CodeState.VOID, CodeState.FENCED, CodeState.FOREIGN):
            yield Step(at=code.updated_at, what=f"attempt {code.attempt}: code {code.state}")
    if row.captured_at is not None:
        yield Step(at=row.captured_at, what=f"attempt {row.attempt}: captured, the customer has the code")
    if row.discount_code_redeemed_at is not None:
        yield Step(at=row.discount_code_redeemed_at, what="code used")
    if refund is not None:
        # The returned points are a step of their own.
        refused = ", refused: the code was used" if refund.status is RefundStatus.REFUSED else ""
        yield Step(at=refund.created_at, what=f"refund requested by {refund.actor}{refused}")
    for one in deliveries:
        if one.status != DeliveryStatus.PENDING:
            yield Step(at=one.sent_at or one.updated_at, what=f"{channel_label(one.channel, one.event)}: {one.status}")
