"""Queries for unfinished attempts and refunds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Interval, TextClause
from sqlalchemy.ext.asyncio import AsyncSession

from db.statements import statement
from domain.events import EventKind
from domain.ids import attempt_workflow_ids, refund_workflow_id, reissue_workflow_id


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """An unfinished attempt, refund or reissue.

    Attributes:
        event: `reward_redeemed` for a purchase, `reward_refunded` for a refund, `reward_reissued` for a reissue.
        channels: the channels that the event is delivered on.
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
    is_queued: bool
    order_id: str | None
    """Of a reissue."""

    @property
    def workflow_ids(self) -> tuple[str, ...]:
        """The workflow ids that can work on it."""
        if self.event is EventKind.REWARD_REFUNDED:
            return (refund_workflow_id(self.redemption_id),)
        if self.order_id is not None:
            return (reissue_workflow_id(self.redemption_id, self.order_id),)
        return attempt_workflow_ids(self.redemption_id, self.number)


# `{among}` restricts the queries to some redemptions.
_UNFINISHED = {
    EventKind.REWARD_REDEEMED: """
        SELECT r.id, r.attempt FROM redemptions r WHERE r.status = :pending AND r.deadline < :before {among}
        UNION
        SELECT r.id, c.attempt FROM discount_codes c JOIN redemptions r ON r.id = c.redemption_id
        WHERE c.state = :planned AND c.updated_at < :before AND r.deadline < :before
          AND (r.status = :failed OR r.attempt > c.attempt) {among}
        UNION
        SELECT r.id, r.attempt FROM deliveries d JOIN redemptions r ON r.id = d.redemption_id
        WHERE d.status = ANY(:unsent) AND d.event = :redeemed AND r.captured_at < :before {among}
        UNION
        SELECT r.id, r.attempt FROM deliveries d JOIN redemptions r ON r.id = d.redemption_id
        WHERE d.status = ANY(:unsent) AND d.event = :purchase_failed AND d.created_at < :before {among}
    """,
    EventKind.REWARD_REFUNDED: """
        SELECT r.id, r.attempt FROM refunds f JOIN redemptions r ON r.id = f.redemption_id
        WHERE f.status = :requested AND f.created_at < :before {among}
        UNION
        SELECT r.id, r.attempt FROM deliveries d JOIN redemptions r ON r.id = d.redemption_id
        WHERE d.status = ANY(:unsent) AND d.event = :refunded AND d.created_at < :before {among}
    """,
    EventKind.REWARD_REISSUED: """
        SELECT r.id, r.attempt FROM reissues i JOIN redemptions r ON r.id = i.redemption_id
        WHERE i.status = :requested AND i.created_at < :before {among}
        UNION
        SELECT r.id, r.attempt FROM deliveries d JOIN redemptions r ON r.id = d.redemption_id
        WHERE d.status = ANY(:unsent) AND d.event = :reissued AND d.created_at < :before {among}
    """,
}
EVENTS = tuple(_UNFINISHED)
"""The events whose workflows can be unfinished. A failed purchase is the purchase's workflow."""

# A redemption has at most one that is pending.
_LAST_REISSUE = "SELECT i.{} FROM reissues i WHERE i.redemption_id = r.id ORDER BY i.number DESC LIMIT 1"
_CHANNELS = {
    EventKind.REWARD_REDEEMED: """
        ARRAY(SELECT channel FROM deliveries d WHERE d.redemption_id = r.id AND d.event = :redeemed ORDER BY channel)
    """,
    EventKind.REWARD_REFUNDED: "(SELECT f.channels FROM refunds f WHERE f.redemption_id = r.id)",
    EventKind.REWARD_REISSUED: f"({_LAST_REISSUE.format('channels')})",
}
_ORDERS = {EventKind.REWARD_REISSUED: f"({_LAST_REISSUE.format('order_id')})"}
_PAGE = """
    WITH unfinished AS ({unfinished})
    SELECT r.shop_id, s.domain AS shop_domain, r.id AS redemption_id, u.attempt AS number,
           r.customer_id, r.reward_id, r.deadline, {channels} AS channels, r.is_queued, {order} AS order_id
    FROM unfinished u JOIN redemptions r USING (id) JOIN shops s ON s.id = r.shop_id
    WHERE CAST(:deadline AS timestamptz) IS NULL
       OR (r.deadline, r.id, u.attempt) > (CAST(:deadline AS timestamptz), :id, CAST(:attempt AS integer))
    ORDER BY r.deadline, r.id, u.attempt LIMIT :limit
"""


async def list_unfinished(
    session: AsyncSession,
    event: EventKind,
    *,
    before: datetime,
    limit: int,
    after: Unfinished | None = None,
    among: Sequence[str] | None = None,
) -> list[Unfinished]:
    """One page of the attempts (or refunds) that should have finished before this time, oldest first.

    Args:
        after: the last row of the previous page.
        among: only these redemptions.
    """
    query = _query(event, among)
    position = {
        "deadline": after and after.deadline,
        "id": after and after.redemption_id,
        "attempt": after and after.number,
    }
    rows = await session.execute(query, {"before": before, "limit": limit, **position})
    return [Unfinished(event=event, **dict(row)) for row in rows.mappings()]


def _query(event: EventKind, among: Sequence[str] | None) -> TextClause:
    condition = "" if among is None else "AND r.id = ANY(CAST(:among AS text[]))"
    unfinished = _UNFINISHED[event].format(among=condition)
    order = _ORDERS.get(event, "CAST(NULL AS text)")
    sql = _PAGE.format(unfinished=unfinished, channels=_CHANNELS[event], order=order)
    return statement(sql) if among is None else statement(sql).bindparams(among=list(among))


@dataclass(frozen=True, kw_only=True)
class UnfinishedCount:
    """The unfinished redemptions of one kind. `overdue`: those that should have finished. `oldest`: its age.

    Kinds: `undecided` (neither captured nor released), `undelivered`, `needs_attention` (a delivery was rejected),
    `refunding`, `unfenced` (the points are released, the code could still appear).
    """

    kind: str
    number: int
    overdue: int
    oldest: timedelta


# Each part reads a partial index of the unfinished rows, so the number of finished ones does not matter.
_COUNT = statement(
    """
    WITH unfinished AS (
        SELECT 'undecided' AS kind, id, updated_at AS since, deadline < now() - :decided_within AS is_overdue
        FROM redemptions WHERE status = :pending
        UNION ALL
        SELECT CASE WHEN status = :undelivered THEN 'undelivered' ELSE 'needs_attention' END, redemption_id,
               CASE WHEN status = :undelivered THEN created_at ELSE updated_at END,
               status <> :undelivered OR created_at < now() - :done_within
        FROM deliveries WHERE status = ANY(:unsent)
        UNION ALL
        SELECT 'refunding', redemption_id, created_at, created_at < now() - :done_within
        FROM refunds WHERE status = :requested
        UNION ALL
        SELECT 'unfenced', c.redemption_id, c.updated_at, c.updated_at < now() - :done_within
        FROM discount_codes c JOIN redemptions r
            ON r.id = c.redemption_id AND (r.status = :failed OR r.attempt > c.attempt)
        WHERE c.state = :planned
    )
    SELECT kind, count(DISTINCT id) AS number, count(DISTINCT id) FILTER (WHERE is_overdue) AS overdue,
           now() - min(since) AS oldest
    FROM unfinished GROUP BY kind
    """,
    decided_within=Interval,
    done_within=Interval,
)


async def count_unfinished(
    session: AsyncSession, *, decided_within: timedelta, done_within: timedelta
) -> list[UnfinishedCount]:
    """What is unfinished now, by kind. A kind without any is left out.

    Args:
        decided_within: after its deadline, the time until a purchase is overdue.
        done_within: the time until anything else is.
    """
    values = {"decided_within": decided_within, "done_within": done_within}
    return [UnfinishedCount(**row) for row in (await session.execute(_COUNT, values)).mappings()]
