"""What is unfinished about attempts and refunds, for the command `stuck`."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from db.deliveries import list_unsent
from db.tables import Delivery, DiscountCode, Redemption, Refund, Reissue
from db.unfinished import Unfinished
from domain.deliveries import DeliveryStatus
from domain.discounts import CodeState
from domain.events import EventKind
from domain.redemptions import RedemptionStatus
from domain.refunds import RefundStatus
from domain.reissues import ReissueStatus


@dataclass(frozen=True, kw_only=True)
class UnfinishedDetails:
    """An unfinished attempt or refund, and what is unfinished about it.

    Attributes:
        undecided: the attempt is neither captured nor released, or the refund's points are not returned.
        since: the time of the deadline or capture; of an undecided refund, the time of the request.
        unknown_outcomes: creations of the failed attempt's code whose outcome is unknown.
        undelivered: the unsent deliveries, by channel.
    """

    attempt: Unfinished
    undecided: bool
    since: datetime
    unknown_outcomes: int = 0
    undelivered: Sequence[Delivery]

    @property
    def event(self) -> EventKind:
        """`reward_redeemed` for a purchase, `reward_refunded` for a refund, `reward_reissued` for a reissue."""
        return self.attempt.event

    @property
    def redemption_id(self) -> str:
        """The redemption's id."""
        return self.attempt.redemption_id

    def deliveries_in(self, status: DeliveryStatus) -> list[Delivery]:
        """The unsent deliveries in this status."""
        return [delivery for delivery in self.undelivered if delivery.status is status]


async def load_details(session: AsyncSession, event: EventKind, page: Sequence[Unfinished]) -> list[UnfinishedDetails]:
    """Details of one page of `list_unfinished`."""
    ids = [one.redemption_id for one in page]
    undelivered: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in await list_unsent(session, ids):
        if (delivery.event == EventKind.REWARD_REFUNDED) is (event is EventKind.REWARD_REFUNDED):
            undelivered[delivery.redemption_id].append(delivery)
    return await _DETAILS[event](session, page, undelivered)


async def unknown_redemptions(session: AsyncSession, ids: Iterable[str]) -> list[str]:
    """The ids among these that no redemption has, in their order."""
    requested = list(dict.fromkeys(ids))
    known = set(await session.scalars(select(Redemption.id).where(Redemption.id.in_(requested))))
    return [one for one in requested if one not in known]


async def _purchases(
    session: AsyncSession, page: Sequence[Unfinished], undelivered: dict[str, list[Delivery]]
) -> list[UnfinishedDetails]:
    ids = [one.redemption_id for one in page]
    rows = {row.id: row for row in await session.scalars(select(Redemption).where(Redemption.id.in_(ids)))}
    planned = select(DiscountCode).where(DiscountCode.redemption_id.in_(ids), DiscountCode.state == CodeState.PLANNED)
    codes = {(code.redemption_id, code.attempt): code for code in await session.scalars(planned)}
    return [
        _purchase(one, rows[one.redemption_id], codes.get((one.redemption_id, one.number)), undelivered) for one in page
    ]


def _purchase(
    attempt: Unfinished, row: Redemption, code: DiscountCode | None, undelivered: dict[str, list[Delivery]]
) -> UnfinishedDetails:
    is_current = row.attempt == attempt.number
    is_captured = row.status.is_captured and is_current
    return UnfinishedDetails(
        attempt=attempt,
        undecided=row.status is RedemptionStatus.PENDING and is_current,
        since=row.captured_at if is_captured and row.captured_at else attempt.deadline,
        unknown_outcomes=code.unknown_outcomes if code else 0,
        undelivered=undelivered[row.id] if is_current else [],
    )


async def _refunds(
    session: AsyncSession, page: Sequence[Unfinished], undelivered: dict[str, list[Delivery]]
) -> list[UnfinishedDetails]:
    query = select(Refund).where(Refund.redemption_id.in_([one.redemption_id for one in page]))
    rows = {row.redemption_id: row for row in await session.scalars(query)}
    return [_refund(one, rows[one.redemption_id], undelivered[one.redemption_id]) for one in page]


def _refund(attempt: Unfinished, row: Refund, undelivered: list[Delivery]) -> UnfinishedDetails:
    since = row.refunded_at or row.created_at
    is_pending = row.status is RefundStatus.PENDING
    return UnfinishedDetails(attempt=attempt, undecided=is_pending, since=since, undelivered=undelivered)


async def _reissues(
    session: AsyncSession, page: Sequence[Unfinished], undelivered: dict[str, list[Delivery]]
) -> list[UnfinishedDetails]:
    keys = [(one.redemption_id, one.order_id) for one in page]
    query = select(Reissue).where(tuple_(Reissue.redemption_id, Reissue.order_id).in_(keys))
    rows = {row.redemption_id: row for row in await session.scalars(query)}
    return [_reissue(one, rows[one.redemption_id], undelivered[one.redemption_id]) for one in page]


def _reissue(attempt: Unfinished, row: Reissue, undelivered: list[Delivery]) -> UnfinishedDetails:
    since = row.reissued_at or row.created_at
    is_pending = row.status is ReissueStatus.PENDING
    return UnfinishedDetails(attempt=attempt, undecided=is_pending, since=since, undelivered=undelivered)


_DETAILS = {
    EventKind.REWARD_REDEEMED: _purchases,
    EventKind.REWARD_REFUNDED: _refunds,
    EventKind.REWARD_REISSUED: _reissues,
}
