"""The connection to PostgreSQL, and its migrations."""

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession


async def read_only_snapshot(session: AsyncSession) -> None:
    """Begin a transaction that sees the database as it is now, whatever is committed meanwhile, and changes nothing."""
    await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))


def is_away(error: Exception) -> bool:
    """Whether the database cannot be reached for now, rather than having refused a statement.

    A server that starts or stops refuses connections with errors that SQLAlchemy knows no class for, and a statement
    that it dies under leaves the driver in a state of its own (InternalError).
    """
    if isinstance(error, DBAPIError):
        return isinstance(error, OperationalError | InterfaceError | InternalError) or type(error) is DBAPIError
    return isinstance(error, OSError | PoolTimeoutError)


async def now(session: AsyncSession) -> datetime:
    """The database's clock, as it is now and not when the transaction began: it may have waited for a lock since."""
    return (await session.execute(select(func.clock_timestamp()))).scalar_one().astimezone(UTC)
