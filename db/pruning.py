"""Deletion of old rows, in batches."""

from sqlalchemy import ColumnElement, delete, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Base


async def delete_batch(session: AsyncSession, table: type[Base], *conditions: ColumnElement[bool], limit: int) -> int:
    """Delete up to `limit` rows that meet the conditions and are not locked; returns how many."""
    key = inspect(table).primary_key
    # A CTE, as PostgreSQL may run a subquery several times, and then deletes more than the limit.
    batch = select(*key).where(*conditions).limit(limit).with_for_update(skip_locked=True).cte("batch")
    this = (column == batch.columns[column.name] for column in key)
    return len((await session.execute(delete(table).where(*this).returning(*key))).all())
