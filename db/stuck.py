"""What the ledger knows of attempts and refunds that have not come to their end."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from database import Sessions
from db.housekeeping import Stranded, unfinished
from db.tables import Delivery, DiscountCode, Redemption, Refund
from domain.events import EventKind
from domain.redemptions import CAPTURED
from domain.refunds import PENDING

AT_A_TIME = 500


@dataclass(frozen=True, kw_only=True)
class Case:
    """An unfinished attempt, or its refund, with what is unfinished about it.

    Attributes:
        undecided: the attempt is neither captured nor released; the refund's points are not back.
        since: when it should have been decided, or when it was; of an undecided refund, when it was asked for.
        unanswered: how often Shopify was asked for the code of a failed attempt without an answer that is known.
        undelivered: the deliveries that are `pending` or `failed`, by channel.
    """

    attempt: Stranded
    undecided: bool
    since: datetime
    unanswered: int = 0
    undelivered: Sequence[Delivery]

    @property
    def event(self) -> EventKind:
        """The purchase, or its refund."""
        return self.attempt.event

    @property
    def redemption_id(self) -> str:
        """The redemption that it is about."""
        return self.attempt.redemption_id

    def in_status(self, status: str) -> list[Delivery]:
        """Its undelivered deliveries in this status."""
        return [delivery for delivery in self.undelivered if delivery.status == status]


async def cases(store: Sessions, *, before: datetime, among: Sequence[str] | None = None) -> AsyncGenerator[list[Case]]:
    """Page by page, first attempts and then refunds that should have come to their end before that time.

    `among` looks at these redemptions only.
    """
    for event in EventKind:
        async for page in unfinished(store, event, before=before, at_a_time=AT_A_TIME, among=among):
            async with store() as session:
                found = await _FACTS[event](session, page)
            yield found


async def unknown_redemptions(session: AsyncSession, ids: Iterable[str]) -> list[str]:
    """Those of these ids that no redemption has, as they came."""
    asked = list(dict.fromkeys(ids))
    known = set(await session.scalars(select(Redemption.id).where(Redemption.id.in_(asked))))
    return [one for one in asked if one not in known]


async def _attempts(session: AsyncSession, page: list[Stranded]) -> list[Case]:
    ids = [one.redemption_id for one in page]
    rows = {row.id: row for row in await session.scalars(select(Redemption).where(Redemption.id.in_(ids)))}
    undelivered = await _undelivered(session, ids, EventKind.REWARD_REDEEMED)
    planned = await _planned(session, ids)
    return [
        _attempt(one, rows[one.redemption_id], planned.get((one.redemption_id, one.number)), undelivered)
        for one in page
    ]


def _attempt(
    attempt: Stranded, row: Redemption, code: DiscountCode | None, undelivered: dict[str, list[Delivery]]
) -> Case:
    is_captured = row.status in CAPTURED and row.attempt == attempt.number
    return Case(
        attempt=attempt,
        undecided=row.status == "pending" and row.attempt == attempt.number,
        since=row.captured_at if is_captured and row.captured_at else attempt.deadline,
        unanswered=code.unanswered if code else 0,
        undelivered=undelivered[row.id] if is_captured else [],
    )


async def _refunds(session: AsyncSession, page: list[Stranded]) -> list[Case]:
    ids = [one.redemption_id for one in page]
    rows = {
        row.redemption_id: row for row in await session.scalars(select(Refund).where(Refund.redemption_id.in_(ids)))
    }
    undelivered = await _undelivered(session, ids, EventKind.REWARD_REFUNDED)
    return [_refund(one, rows[one.redemption_id], undelivered[one.redemption_id]) for one in page]


def _refund(attempt: Stranded, row: Refund, undelivered: list[Delivery]) -> Case:
    since = row.refunded_at or row.created_at
    return Case(attempt=attempt, undecided=row.state == PENDING, since=since, undelivered=undelivered)


_FACTS = {EventKind.REWARD_REDEEMED: _attempts, EventKind.REWARD_REFUNDED: _refunds}


async def _undelivered(session: AsyncSession, ids: list[str], event: EventKind) -> dict[str, list[Delivery]]:
    untold = (Delivery.event == event, Delivery.status.in_(["pending", "failed"]))
    query = select(Delivery).where(Delivery.redemption_id.in_(ids), *untold)
    found: dict[str, list[Delivery]] = defaultdict(list)
    for row in await session.scalars(query.order_by(Delivery.channel)):
        found[row.redemption_id].append(row)
    return found


async def _planned(session: AsyncSession, ids: list[str]) -> dict[tuple[str, int], DiscountCode]:
    query = select(DiscountCode).where(DiscountCode.redemption_id.in_(ids), DiscountCode.state == "planned")
    return {(row.redemption_id, row.attempt): row for row in await session.scalars(query)}
