"""The connection to PostgreSQL: engine, session factory, migrations."""

from datetime import timedelta
from pathlib import Path

from alembic import command
from alembic.config import Config
from pydantic import SecretStr
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

Sessions = async_sessionmaker[AsyncSession]

# Arbitrary, but the same in every process that migrates.
_MIGRATION_LOCK = 7_246_355


def connect(database_url: SecretStr, *, statement_timeout: timedelta | None = timedelta(seconds=15)) -> AsyncEngine:
    """Create the engine. Its errors omit parameters, as those hold e-mail addresses and codes and reach histories.

    `statement_timeout` None is for migrations and imports, whose statements may take long.
    """
    seconds = None if statement_timeout is None else statement_timeout.total_seconds()
    return create_async_engine(
        database_url.get_secret_value(),
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=20,
        pool_timeout=5,
        connect_args={"timeout": 5, "command_timeout": seconds},
    )


def sessions(engine: AsyncEngine) -> Sessions:
    """Create the session factory. Rows stay readable after the commit, as nothing is loaded lazily."""
    return async_sessionmaker(engine, expire_on_commit=False)


async def migrate(engine: AsyncEngine) -> None:
    """Apply all migrations. Safe to repeat, and from two processes at once."""
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    config = Config(Path(__file__).parent / "db" / "alembic.ini")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
