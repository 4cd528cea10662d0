"""What suites with processes of their own share. Their conftest defines the fixture `stack` and imports the others."""

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from database import connect, migrate
from local_stack.stack import LocalStack
from settings import Settings, connect_temporal


def settings_of(stack: LocalStack, **changes: Any) -> Settings:
    """The settings of every process of the stack."""
    return Settings.model_validate({**{name.lower(): value for name, value in stack.env.items()}, **changes})


def client_of(url: str) -> httpx.AsyncClient:
    """An HTTP client that waits longer than any purchase takes.

    It opens a connection per request: a kept one can be closed by the server just as it is used again.
    """
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, verify=False, limits=limits)


async def configure(engine: AsyncEngine, **parameters: str) -> None:
    """Change parameters of PostgreSQL. Those that need a start change at the next one."""
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for name, value in parameters.items():
            await connection.execute(text(f"ALTER SYSTEM SET {name} = {value}"))
        await connection.execute(text("SELECT pg_reload_conf()"))


@pytest.fixture(scope="session")
def settings(stack: LocalStack) -> Settings:
    return settings_of(stack)


@pytest.fixture(scope="session")
async def engine(settings: Settings) -> AsyncGenerator[AsyncEngine]:
    """The migrated database."""
    engine = connect(settings.database_url)
    await migrate(engine)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
async def temporal_client(settings: Settings) -> Client:
    return await connect_temporal(settings)
