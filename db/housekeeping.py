"""Queries of the reconciler."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import TextClause, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from database import Sessions
from db.tables import Delivery
from domain.events import EventKind
from domain.redemptions import purchase_runs
from domain.refunds import refund_id


@dataclass(frozen=True, kw_only=True)
class Stranded:
    """An attempt, or its refund, that has something left to do.

    Attributes:
        event: what is being brought about and told: the purchase, or its refund.
        channels: those it is announced on.
    """

    event: EventKind
    shop_id: int
    shop_domain: str
    redemption_id: str
    number: int
    customer_id: str
    reward_id: str
    deadline: datetime
    channels: list[str]

    @property
    def runs(self) -> tuple[str, ...]:
        """The workflow ids under which it can be in hand."""
        if self.event is EventKind.REWARD_REFUNDED:
            return (refund_id(self.redemption_id),)
        return purchase_runs(self.redemption_id, self.number)


# What is unfinished, by what is being brought about; `{mine}` narrows it to some redemptions before it is put together.
_UNFINISHED = {
    EventKind.REWARD_REDEEMED: """
        SELECT r.id, r.attempt FROM redemptions r WHERE r.status = 'pending' AND r.deadline < :before {mine}
        UNION
        SELECT r.id, c.attempt FROM discount_codes c JOIN redemptions r ON r.id = c.redemption_id
        WHERE c.state = 'planned' AND c.updated_at < :before AND r.deadline < :before
          AND (r.status = 'failed' OR r.attempt > c.attempt) {mine}
        UNION
        SELECT r.id, r.attempt FROM deliveries d JOIN redemptions r ON r.id = d.redemption_id
        WHERE d.status IN ('pending', 'failed') AND d.event = 'reward_redeemed' AND r.captured_at < :before {mine}
    """,
    EventKind.REWARD_REFUNDED: """
        SELECT r.id, r.attempt FROM refunds f JOIN redemptions r ON r.id = f.redemption_id
        WHERE f.state = 'pending' AND f.created_at < :before {mine}
        UNION
        SELECT r.id, r.attempt FROM deliveries d JOIN redemptions r ON r.id = d.redemption_id
        WHERE d.status IN ('pending', 'failed') AND d.event = 'reward_refunded' AND d.created_at < :before {mine}
    """,
}
_CHANNELS = {
    EventKind.REWARD_REDEEMED: """
        ARRAY(SELECT channel FROM deliveries d WHERE d.redemption_id = r.id AND d.event = 'reward_redeemed'
              ORDER BY channel)
    """,
    EventKind.REWARD_REFUNDED: "(SELECT f.channels FROM refunds f WHERE f.redemption_id = r.id)",
}
_PAGE = """
    WITH unfinished AS ({unfinished})
    SELECT r.shop_id, s.domain AS shop_domain, r.id AS redemption_id, u.attempt AS number,
           r.customer_id, r.reward_id, r.deadline, {channels} AS channels
    FROM unfinished u JOIN redemptions r USING (id) JOIN shops s ON s.id = r.shop_id
    WHERE CAST(:deadline AS timestamptz) IS NULL
       OR (r.deadline, r.id, u.attempt) > (CAST(:deadline AS timestamptz), :id, CAST(:attempt AS integer))
    ORDER BY r.deadline, r.id, u.attempt LIMIT :at_most
"""


async def unfinished(
    store: Sessions, event: EventKind, *, before: datetime, at_a_time: int, among: Sequence[str] | None = None
) -> AsyncGenerator[list[Stranded]]:
    """Page by page, the oldest first, attempts (or refunds) that should have come to their end before that time.

    A refund's news has to have been there by then. `among` looks at these redemptions only.
    """
    query = _query(event, among)
    last: Stranded | None = None
    while True:
        after = {
            "deadline": last and last.deadline,
            "id": last and last.redemption_id,
            "attempt": last and last.number,
        }
        async with store() as session:
            rows = (await session.execute(query, {"before": before, "at_most": at_a_time, **after})).mappings().all()
        page = [Stranded(event=event, **dict(row)) for row in rows]
        if page:
            yield page
        if len(page) < at_a_time:
            return
        last = page[-1]


def _query(event: EventKind, among: Sequence[str] | None) -> TextClause:
    mine = "" if among is None else "AND r.id = ANY(CAST(:among AS text[]))"
    query = text(_PAGE.format(unfinished=_UNFINISHED[event].format(mine=mine), channels=_CHANNELS[event]))
    return query if among is None else query.bindparams(among=list(among))


async def untold(session: AsyncSession, redemptions: Sequence[str]) -> set[tuple[str, EventKind]]:
    """What these redemptions have left to tell, whether it waits for its next try or was refused."""
    query = select(Delivery.redemption_id, Delivery.event).where(
        Delivery.redemption_id.in_(redemptions), Delivery.status.in_(["pending", "failed"])
    )
    return {(redemption, EventKind(event)) for redemption, event in await session.execute(query)}
