"""Pages of long lists: the first and the five hundredth cost nearly the same.

The page's ids are read off an index that holds what is filtered by, what is sorted by, and the id, in that order; only
then are the rows fetched. Where a list shows several values of the filtered column, each is a range of that index, and
the database merges them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, select, union_all
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
    *owner: ColumnElement[bool],
    grouped_by: InstrumentedAttribute[Any],
    values: Iterable[object],
    page: Page,
    total: int,
) -> list[Row]:
    """The rows of one page.

    Args:
        owner: whose list it is.
        grouped_by: the column that is filtered by.
        values: those of its values that the list shows.
        total: how many rows the whole list has.
    """
    if page.offset >= total:
        return []
    key = getattr(table, page.sort)
    ranges = [select(table.id, key.label("key")).where(*owner, grouped_by == value) for value in values]
    merged = union_all(*ranges).subquery()
    order = [column.desc() if page.descending else column.asc() for column in (merged.c.key, merged.c.id)]
    query = select(merged.c.id).order_by(*order).limit(page.size).offset(page.offset)
    ids = (await session.scalars(query)).all()
    found = await session.scalars(select(table).where(*owner, table.id.in_(ids)))
    rows = {row.id: row for row in found}
    return [rows[one] for one in ids]
