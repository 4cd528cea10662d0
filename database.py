"""The connection to PostgreSQL: engine, session factory, migrations."""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

from prometheus_client import Gauge
from pydantic import SecretStr
from sqlalchemy import Connection, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from db.transactions import Snapshot


class Sessions:
    """Sessions on the database. Rows stay readable afterwards, as nothing is loaded lazily.

    `sessions()` runs each statement on its own, in autocommit: for reads, and for a write of one statement. That saves
    BEGIN and ROLLBACK. `sessions.begin()` is one transaction, committed at the end of the block.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._transactions = async_sessionmaker(engine, expire_on_commit=False)
        autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._statements = async_sessionmaker(autocommit, expire_on_commit=False)
        repeatable = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._snapshots = async_sessionmaker(repeatable, class_=Snapshot, expire_on_commit=False)

    def __call__(self) -> AsyncSession:
        """A session in autocommit."""
        return self._statements()

    def begin(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A session in a transaction."""
        return self._transactions.begin()

    def snapshot(self) -> Snapshot:
        """A session on a snapshot, for reads that must agree with each other."""
        return self._snapshots()


# Arbitrary, but the same in every process that migrates.
_MIGRATION_LOCK = 7_246_355


def connect(
    database_url: SecretStr, *, connections: int = 20, statement_timeout: timedelta | None = timedelta(seconds=15)
) -> AsyncEngine:
    """Create the engine. Its errors omit parameters, as those hold e-mail addresses and codes and reach histories.

    `connections`: at most so many, opened when they are needed and kept. `statement_timeout` None is for migrations and
    imports, whose statements may take long.
    """
    seconds = None if statement_timeout is None else statement_timeout.total_seconds()
    engine = create_async_engine(
        database_url.get_secret_value(),
        hide_parameters=True,
        pool_size=connections,
        # Connections of the overflow are closed after each use: at load each purchase would open one.
        max_overflow=0,
        pool_timeout=5,
        connect_args={"timeout": 5, "command_timeout": seconds},
    )
    event.listen(engine.sync_engine, "checkout", _replace_closed)
    return engine


def observe_pool(engine: AsyncEngine, gauge: Gauge, pool: str) -> None:
    """Show the engine's connections in the gauge, under this name."""
    queue = engine.pool
    assert isinstance(queue, AsyncAdaptedQueuePool)
    gauge.labels(pool, "used").set_function(queue.checkedout)
    gauge.labels(pool, "limit").set(queue.size())


def _replace_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Have the pool replace a connection that the server has closed. Costs no statement, unlike a ping."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server has closed this connection")


async def migrate(engine: AsyncEngine) -> bool:
    """Apply all migrations. Safe to repeat, and from two processes at once.

    Returns False if a newer release has migrated the database. That is a rollback: migrations only add, so that this
    release runs with the newer schema, and nothing is changed.
    """
    # Two connections: the lock is held until the end, while each migration commits. Not by a transaction, whose
    # snapshot an index that is built concurrently would wait for.
    unlocked = engine.execution_options(isolation_level="AUTOCOMMIT")
    async with unlocked.connect() as lock, engine.connect() as connection:
        await lock.exec_driver_sql(f"SELECT pg_advisory_lock({_MIGRATION_LOCK})")
        try:
            return await connection.run_sync(_upgrade)
        finally:
            await lock.exec_driver_sql(f"SELECT pg_advisory_unlock({_MIGRATION_LOCK})")


def _upgrade(connection: Connection) -> bool:
    # Loading alembic takes as long as loading sqlalchemy, and only migrations need it.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config(Path(__file__).parent / "db" / "alembic.ini")
    known = {one.revision for one in ScriptDirectory.from_config(config).walk_revisions()}
    # In a transaction that has ended before the migrations begin theirs.
    with connection.begin():
        current = MigrationContext.configure(connection).get_current_heads()
    if not known.issuperset(current):
        return False
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return True
