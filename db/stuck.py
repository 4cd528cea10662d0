"""What the ledger knows of attempts that have not come to their end."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.engine import Sessions
from db.housekeeping import Stranded, unfinished
from db.tables import Delivery, DiscountCode, Redemption, Refund, Shop
from domain.events import EventKind
from domain.redemptions import CAPTURED
from domain.refunds import PENDING

AT_A_TIME = 500


@dataclass(frozen=True, kw_only=True)
class Case:
    """An unfinished attempt, with what is unfinished about it.

    Attributes:
        holds_points: neither captured nor released.
        since: when it should have been decided, or when it was captured.
        unanswered: how often Shopify was asked for the code of a failed attempt without an answer that is known.
        undelivered: the deliveries that are `pending` or `failed`, by channel.
    """

    attempt: Stranded
    holds_points: bool
    since: datetime
    unanswered: int
    undelivered: Sequence[Delivery]

    @property
    def redemption_id(self) -> str:
        """The redemption it is an attempt at."""
        return self.attempt.redemption_id

    def in_status(self, status: str) -> list[Delivery]:
        """Its undelivered deliveries in this status."""
        return [delivery for delivery in self.undelivered if delivery.status == status]


@dataclass(frozen=True, kw_only=True)
class WaitingRefund:
    """A refund that is not through: before its code is removed, or with news of it that is `undelivered`."""

    redemption_id: str
    attempt: int
    shop_domain: str
    since: datetime
    undelivered: Sequence[Delivery]


async def waiting_refunds(
    session: AsyncSession, *, before: datetime, among: Sequence[str] | None = None
) -> list[WaitingRefund]:
    """Refunds that were asked for before that time and are not through; `among` looks at these redemptions only."""
    has_untold = exists().where(Delivery.redemption_id == Refund.redemption_id, *_untold(EventKind.REWARD_REFUNDED))
    query = (
        select(Refund.redemption_id, Redemption.attempt, Shop.domain, Refund.created_at)
        .join(Redemption, Redemption.id == Refund.redemption_id)
        .join(Shop, Shop.id == Refund.shop_id)
        .where(Refund.created_at < before, or_(Refund.state == PENDING, has_untold))
    )
    rows = (await session.execute(query if among is None else query.where(Refund.redemption_id.in_(among)))).all()
    undelivered = await _undelivered(session, [row[0] for row in rows], EventKind.REWARD_REFUNDED)
    return [
        WaitingRefund(
            redemption_id=redemption_id,
            attempt=attempt,
            shop_domain=shop,
            since=since,
            undelivered=undelivered[redemption_id],
        )
        for redemption_id, attempt, shop, since in rows
    ]


async def cases(store: Sessions, *, before: datetime, among: Sequence[str] | None = None) -> AsyncGenerator[list[Case]]:
    """Page by page, attempts that should have come to their end before that time; `among` looks at these only."""
    last: Stranded | None = None
    while True:
        async with store() as session:
            page = await unfinished(session, before=before, at_most=AT_A_TIME, after=last, among=among)
            if page:
                yield await _with_facts(session, page)
        if len(page) < AT_A_TIME:
            return
        last = page[-1]


async def unknown_redemptions(session: AsyncSession, ids: Iterable[str]) -> list[str]:
    """Those of these ids that no redemption has, as they came."""
    asked = list(dict.fromkeys(ids))
    known = set(await session.scalars(select(Redemption.id).where(Redemption.id.in_(asked))))
    return [one for one in asked if one not in known]


async def _with_facts(session: AsyncSession, page: list[Stranded]) -> list[Case]:
    ids = [one.redemption_id for one in page]
    rows = {row.id: row for row in await session.scalars(select(Redemption).where(Redemption.id.in_(ids)))}
    undelivered = await _undelivered(session, ids, EventKind.REWARD_REDEEMED)
    planned = await _planned(session, ids)
    return [
        _case(one, rows[one.redemption_id], planned.get((one.redemption_id, one.number)), undelivered) for one in page
    ]


def _case(
    attempt: Stranded, row: Redemption, code: DiscountCode | None, undelivered: dict[str, list[Delivery]]
) -> Case:
    is_captured = row.status in CAPTURED and row.attempt == attempt.number
    return Case(
        attempt=attempt,
        holds_points=row.status == "pending" and row.attempt == attempt.number,
        since=row.captured_at if is_captured and row.captured_at else attempt.deadline,
        unanswered=code.unanswered if code else 0,
        undelivered=undelivered[row.id] if is_captured else [],
    )


async def _undelivered(session: AsyncSession, ids: list[str], event: EventKind) -> dict[str, list[Delivery]]:
    query = select(Delivery).where(Delivery.redemption_id.in_(ids), *_untold(event))
    found: dict[str, list[Delivery]] = defaultdict(list)
    for row in await session.scalars(query.order_by(Delivery.channel)):
        found[row.redemption_id].append(row)
    return found


def _untold(event: EventKind) -> tuple[ColumnElement[bool], ...]:
    return Delivery.event == event, Delivery.status.in_(["pending", "failed"])


async def _planned(session: AsyncSession, ids: list[str]) -> dict[tuple[str, int], DiscountCode]:
    query = select(DiscountCode).where(DiscountCode.redemption_id.in_(ids), DiscountCode.state == "planned")
    return {(row.redemption_id, row.attempt): row for row in await session.scalars(query)}
