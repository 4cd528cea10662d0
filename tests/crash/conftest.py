"""A database and an engine for all cases, and vendors for as many as are played at a time."""

import asyncio
from collections.abc import AsyncGenerator, Iterator

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from database import connect, migrate
from local_stack import ports
from local_stack.options import StackOptions
from local_stack.stack import LocalStack
from settings import Settings, connect_temporal
from tests.crash.matrix import Matrix, a_client_of_vendors
from tests.crash.worker import start_sandbox
from tests.service import until

CASES_AT_ONCE = 30
"""No more than the test's own engine has connections."""
CONNECTIONS = 300
"""PostgreSQL's usual hundred are too few for as many cases."""


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[LocalStack]:
    """Database and engine; a case brings the rest."""
    home = tmp_path_factory.mktemp("crash")
    async with LocalStack(StackOptions.on_free_ports(home, parts=["postgres"])) as stack:
        await _allow_connections(SecretStr(stack.database_url))
    async with LocalStack(StackOptions.on_free_ports(home, parts=["postgres", "temporal"])) as stack:
        yield stack


@pytest.fixture(scope="session")
def settings(stack: LocalStack) -> Settings:
    """What all cases have in common."""
    return Settings.model_validate({name.lower(): value for name, value in stack.env.items()})


@pytest.fixture(scope="session")
async def engine(settings: Settings) -> AsyncGenerator[AsyncEngine]:
    """The migrated database."""
    engine = connect(settings.database_url)
    await migrate(engine)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
def vendor_urls(stack: LocalStack) -> Iterator[list[str]]:
    """Vendors that come into being by and by."""
    numbers = ports.free(CASES_AT_ONCE)
    processes = [start_sandbox(port, stack.log(f"sandbox-{port}")) for port in numbers]
    yield [f"http://{ports.LOOPBACK}:{port}" for port in numbers]
    for process in processes:
        process.kill()
    for process in processes:
        process.join()
        process.close()


@pytest.fixture(scope="session")
async def matrix(stack: LocalStack, settings: Settings, engine: AsyncEngine, vendor_urls: list[str]) -> Matrix:
    """All that cases need."""
    vendors: asyncio.Queue[str] = asyncio.Queue()
    for url in vendor_urls:
        async with a_client_of_vendors(url) as client:
            await until(lambda client=client: _answers(client))
        vendors.put_nowait(url)
    temporal = await connect_temporal(settings)
    home = stack.home / "cases"
    home.mkdir()
    return Matrix(stack=stack, engine=engine, temporal=temporal, vendors=vendors, home=home)


async def _allow_connections(database_url: SecretStr) -> None:
    """From PostgreSQL's next start on."""
    engine = connect(database_url).execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"ALTER SYSTEM SET max_connections = {CONNECTIONS}"))
    await engine.dispose()


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).is_success
    except httpx.TransportError:
        return False
