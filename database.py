"""The connection to PostgreSQL: engine, session factory, migrations."""

from datetime import timedelta
from pathlib import Path

from alembic import command
from alembic.config import Config
from pydantic import SecretStr
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

Sessions = async_sessionmaker[AsyncSession]


# Any number will do, as long as every process that migrates uses the same.
_MIGRATION_LOCK = 7_246_355


def connect(database_url: SecretStr, *, patience: timedelta | None = timedelta(seconds=15)) -> AsyncEngine:
    """An engine whose errors never print parameters: they hold e-mail addresses and codes, and end in histories.

    `patience` bounds each statement; None is for migrations and imports, which may take long.
    """
    return create_async_engine(
        database_url.get_secret_value(),
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=20,
        pool_timeout=5,
        connect_args={"timeout": 5, "command_timeout": patience and patience.total_seconds()},
    )


def sessions(engine: AsyncEngine) -> Sessions:
    """Sessions whose rows stay readable after the commit, as nothing here loads lazily."""
    return async_sessionmaker(engine, expire_on_commit=False)


async def migrate(engine: AsyncEngine) -> None:
    """Bring the schema up to date. Safe to run twice, and from two processes at once."""
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        await connection.run_sync(_upgrade)


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for this connection."""
    config = Config(Path(__file__).parent / "db" / "alembic.ini")
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    command.upgrade(alembic_config(connection), "head")
