"""Pages of long lists: the first and the five hundredth cost nearly the same.

The page's ids are read off an index that holds what is filtered by, what is sorted by, and the id, in that order; only
then are the rows fetched. Where a list shows several values of the filtered column, each is a range of that index, and
the database merges them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, inspect, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from db.tables import Customer, Earning, Redemption, Reward

Row = TypeVar("Row", Customer, Earning, Redemption, Reward)


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which rows of a list, and in which order. `number` counts from 1; equals are ordered by their ids."""

    number: int
    size: int
    sort: str
    descending: bool

    @property
    def offset(self) -> int:
        """Rows that come before it."""
        return (self.number - 1) * self.size


async def rows_of(
    session: AsyncSession,
    table: type[Row],
    shop_id: int,
    *owner: ColumnElement[bool],
    grouped_by: InstrumentedAttribute[Any],
    values: Iterable[object],
    page: Page,
    total: int,
) -> list[Row]:
    """The rows of one page.

    Args:
        owner: whose list it is within the shop.
        grouped_by: the column that is filtered by.
        values: those of its values that the list shows.
        total: how many rows the whole list has.
    """
    if page.offset >= total:
        return []
    key = getattr(table, page.sort)
    ranges = [
        select(table.id, key.label("key")).where(table.shop_id == shop_id, *owner, grouped_by == value)
        for value in values
    ]
    ids = (await session.scalars(_merged(ranges, page))).all()
    # By the primary key and nothing else: given more to go by, the planner may take another index, and read a lot.
    rows = select(table).where(table.id.in_(ids))
    if any(column.name == "shop_id" for column in inspect(table).primary_key):
        rows = rows.where(table.shop_id == shop_id)
    found = {row.id: row for row in await session.scalars(rows)}
    return [found[one] for one in ids]


def _merged(ranges: Iterable[Select[str, Any]], page: Page) -> Select[str]:
    """The page's ids, from ranges of (id, key)."""

    def ordered(id_: SQLColumnExpression[Any], key: SQLColumnExpression[Any]) -> list[ColumnElement[Any]]:
        return [key.desc(), id_.desc()] if page.descending else [key.asc(), id_.asc()]

    # Each range in order and no longer than needed: only so does PostgreSQL merge them instead of sorting everything.
    parts = [one.order_by(*ordered(*one.selected_columns)).limit(page.offset + page.size).subquery() for one in ranges]
    merged = union_all(*map(select, parts)).subquery()
    return select(merged.c.id).order_by(*ordered(*merged.c)).limit(page.size).offset(page.offset)
