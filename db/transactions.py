"""The database's clock, snapshots, and whether an error means that the database is unreachable."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import event, func, select
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session


async def now(session: AsyncSession) -> datetime:
    """The database's current time. Not the transaction's start: the transaction may have waited for a lock since."""
    return (await session.execute(select(func.clock_timestamp()))).scalar_one().astimezone(UTC)


_ACTIONS = "at_commit"


def at_commit(session: AsyncSession, action: Callable[[], object]) -> None:
    """Do something once this transaction is committed, such as counting it."""
    session.info.setdefault(_ACTIONS, []).append(action)


@event.listens_for(Session, "after_commit")
def _act(session: Session) -> None:
    for action in session.info.pop(_ACTIONS, ()):
        action()


class Snapshot(AsyncSession):
    """A read-only session. All its statements see the database as it was at the first."""


# undefined_table, undefined_column. Source: PostgreSQL, appendix A.
_UNDEFINED = ("42P01", "42703")
# Class of transaction_rollback: deadlocks and serialization failures.
_ROLLED_BACK = "40"


def is_unmigrated(error: Exception) -> bool:
    """Whether a table or column is missing, so that the schema is older than the code."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _UNDEFINED


def is_unreachable(error: Exception) -> bool:
    """Whether the database is unreachable for now, rather than having rejected a statement.

    A server that starts or stops refuses connections with errors that SQLAlchemy has no class for. Neither has it one
    for a deadlock, which is a bug. A statement that the server dies under leaves the driver in a state of its own
    (InternalError).
    """
    if isinstance(error, DBAPIError):
        if str(getattr(error.orig, "sqlstate", "")).startswith(_ROLLED_BACK):
            return False
        return isinstance(error, OperationalError | InterfaceError | InternalError) or type(error) is DBAPIError
    return isinstance(error, OSError | PoolTimeoutError)
