"""Deletion of old rows, in batches."""

from sqlalchemy import ColumnElement, delete, inspect, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Base


async def delete_batch(session: AsyncSession, table: type[Base], *conditions: ColumnElement[bool], limit: int) -> int:
    """Delete up to `limit` rows that meet the conditions and are not locked; returns how many."""
    key = inspect(table).primary_key
    batch = select(*key).where(*conditions).limit(limit).with_for_update(skip_locked=True)
    deleted = delete(table).where(tuple_(*key).in_(batch)).returning(*key)
    return len((await session.execute(deleted)).all())
