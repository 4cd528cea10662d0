"""The reward history of a whole shop, page by page from a cursor: every page costs the same, however long the list is.

As in `db.lists`, each status is a range of an index, and PostgreSQL merges the ranges.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Select, func, not_, select, text, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from db.discount_codes import customer_codes
from db.tables import Redemption
from domain.redemptions import RedemptionStatus

_Query = Select[Any, Any]

# The number is that of the database function `creation_time`, which takes the locks.
_COMMITTED_BEFORE = text("""
    SELECT date_trunc('milliseconds', least(now(), (
        SELECT to_timestamp(min(objid::bigint)) FROM pg_locks
        WHERE locktype = 'advisory' AND classid = 7246356 AND objsubid = 1
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )))
""")


@dataclass(frozen=True)
class Position:
    """A place in the list: right after the redemption with this time and id."""

    created_at: datetime
    redemption_id: str


@dataclass(frozen=True, kw_only=True)
class HistoryFilter:
    """Which redemptions are listed. `status`: as it is shown. `created_from` is included, `created_before` is not."""

    status: RedemptionStatus | None = None
    reward_id: str | None = None
    customer_id: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None

    def conditions(self) -> Iterable[ColumnElement[bool]]:
        """All but the status."""
        if self.reward_id is not None:
            yield Redemption.reward_id == self.reward_id
        if self.customer_id is not None:
            yield Redemption.customer_id == self.customer_id
        if self.created_from is not None:
            yield Redemption.created_at >= self.created_from
        if self.created_before is not None:
            yield Redemption.created_at < self.created_before


async def committed_before(session: AsyncSession) -> datetime:
    """A time before which no redemption can appear any more. Must be read before the snapshot that is listed.

    A transaction that adds a redemption holds a lock whose number is the second of its creation. So a redemption that
    is not committed when the locks are read is of the second of a lock or later, or it is created after now. To the
    millisecond, as responses show times: `filter[created_after]` then skips nothing that appears later.
    """
    return (await session.execute(_COMMITTED_BEFORE)).scalar_one()


async def page_of_history(
    session: AsyncSession,
    shop_id: int,
    wanted: HistoryFilter,
    *,
    after: Position | None,
    size: int,
    descending: bool,
) -> tuple[list[tuple[Redemption, str | None]], Position | None]:
    """Up to `size` redemptions with their codes, and the position of the next page. None: this is the last one."""
    conditions = [Redemption.shop_id == shop_id, *wanted.conditions()]
    if after is not None:
        place, last = tuple_(Redemption.created_at, Redemption.id), tuple_(after.created_at, after.redemption_id)
        conditions.append(place < last if descending else place > last)
    page = partial(_page, size=size, descending=descending)
    ranges = [page(query) for query in _ranges(conditions, wanted.status)]
    ids = (await session.scalars(_merged(ranges, size, descending=descending))).all()
    # Only by primary key: with further conditions the planner may choose another index and read many rows.
    found = {row.id: row for row in await session.scalars(select(Redemption).where(Redemption.id.in_(ids)))}
    rows = [found[one] for one in ids]
    codes = await customer_codes(session, rows)
    shown = rows[:size]
    following = Position(shown[-1].created_at, shown[-1].id) if len(rows) > size else None
    return [(row, codes.get(row.id)) for row in shown], following


def _ranges(conditions: list[ColumnElement[bool]], status: RedemptionStatus | None) -> list[_Query]:
    """Id and time of the redemptions that are shown with this status, each a range of an index."""
    every: _Query = select(Redemption.id, Redemption.created_at).where(*conditions)
    match status:
        case None:
            return [every.where(Redemption.status == one) for one in RedemptionStatus]
        case RedemptionStatus.ACTIVE:
            return [every.where(Redemption.status == status, not_(Redemption.has_ended))]
        case RedemptionStatus.EXPIRED:
            # Those that have ended and are not swept yet are few. Not sorted by the database, which would read all
            # active ones in the order of their creation.
            has_ended = (Redemption.status == RedemptionStatus.ACTIVE, Redemption.expires_at <= func.now())
            ended = every.where(*has_ended).cte("ended").prefix_with("MATERIALIZED", dialect="*")
            return [every.where(Redemption.status == status), select(ended.c.id, ended.c.created_at)]
        case _:
            return [every.where(Redemption.status == status)]


def _page(query: _Query, *, size: int, descending: bool) -> Any:
    return query.order_by(*_order(*query.selected_columns, descending=descending)).limit(size + 1)


def _merged(ranges: list[Any], size: int, *, descending: bool) -> Select[str]:
    merged = union_all(*(select(one.subquery()) for one in ranges)).subquery()
    query = select(merged.c.id)
    return query.order_by(*_order(merged.c.created_at, merged.c.id, descending=descending)).limit(size + 1)


def _order(created_at: Any, redemption_id: Any, *, descending: bool) -> list[ColumnElement[Any]]:
    columns = [created_at, redemption_id]
    return [column.desc() if descending else column.asc() for column in columns]
