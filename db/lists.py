"""Pages of long lists: page 500 costs nearly as much as page 1.

The ids of a page are read from an index on the filtered column, the sorted column and the id; then the rows are read.
If a list shows several values of the filtered column, each is a range of that index, and PostgreSQL merges the ranges.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, func, inspect, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import ActivityLog, Customer, Earning, Redemption, Reward, WebhookSubscription

Row = TypeVar("Row", Customer, Earning, Redemption, Reward)
Few = TypeVar("Few", ActivityLog, WebhookSubscription)


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which rows of a list, in which order. `number` starts at 1. Rows with equal sort keys are ordered by id."""

    number: int
    size: int
    sort: str
    descending: bool

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size


async def page_of_few(
    session: AsyncSession, table: type[Few], page: Page, *conditions: ColumnElement[bool]
) -> tuple[Sequence[Few], int]:
    """One page of a list that is short enough to be counted and sorted, and the total."""
    total = (await session.execute(select(func.count()).select_from(table).where(*conditions))).scalar_one()
    if page.offset >= total:
        return [], total
    order = (getattr(table, page.sort), table.id)
    query = select(table).where(*conditions)
    query = query.order_by(*(column.desc() if page.descending else column.asc() for column in order))
    return (await session.scalars(query.offset(page.offset).limit(page.size))).all(), total


async def rows_of(
    session: AsyncSession,
    table: type[Row],
    shop_id: int,
    *owner: ColumnElement[bool],
    ranges: Iterable[ColumnElement[bool]],
    page: Page,
    total: int,
) -> list[Row]:
    """The rows of one page.

    Args:
        owner: conditions that select the list within the shop.
        ranges: the values of the filtered column that the list shows, each as a condition.
        total: number of rows of the whole list.
    """
    if page.offset >= total:
        return []
    key = getattr(table, page.sort)
    parts = [select(table.id, key.label("key")).where(table.shop_id == shop_id, *owner, one) for one in ranges]
    ids = (await session.scalars(_merged(parts, page))).all()
    # Only by primary key: with further conditions the planner may choose another index and read many rows.
    rows = select(table).where(table.id.in_(ids))
    if any(column.name == "shop_id" for column in inspect(table).primary_key):
        rows = rows.where(table.shop_id == shop_id)
    found = {row.id: row for row in await session.scalars(rows)}
    return [found[one] for one in ids]


def _merged(ranges: Iterable[Select[str, Any]], page: Page) -> Select[str]:
    """The ids of the page, from ranges of (id, key)."""

    def ordered(id_: SQLColumnExpression[Any], key: SQLColumnExpression[Any]) -> list[ColumnElement[Any]]:
        return [key.desc(), id_.desc()] if page.descending else [key.asc(), id_.asc()]

    # Each range sorted and limited: PostgreSQL then merges them instead of sorting everything.
    parts = [one.order_by(*ordered(*one.selected_columns)).limit(page.offset + page.size).subquery() for one in ranges]
    merged = union_all(*map(select, parts)).subquery()
    return select(merged.c.id).order_by(*ordered(*merged.c)).limit(page.size).offset(page.offset)
