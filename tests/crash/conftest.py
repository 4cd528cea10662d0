"""A database and a Temporal server for all cases, and a vendor sandbox for each case in progress."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from database import connect
from local_stack import ports
from local_stack.options import StackOptions
from local_stack.stack import LocalStack
from tests.crash.matrix import Matrix
from tests.crash.worker import start_sandbox
from tests.stacks import client_of, configure, engine, settings, temporal_client
from tests.waiting import wait_until

__all__ = ["engine", "settings", "temporal_client"]

CASES_AT_ONCE = 30
"""At most the connections of the test's own engine."""
CONNECTIONS = "300"
"""PostgreSQL's default of 100 is too low for as many cases."""


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[LocalStack]:
    home = tmp_path_factory.mktemp("crash")
    async with _stack(home, "postgres") as stack:
        engine = connect(SecretStr(stack.database_url))
        await configure(engine, max_connections=CONNECTIONS, fsync="off", full_page_writes="off")
        await engine.dispose()
    async with _stack(home, "postgres", "temporal") as stack:
        yield stack


def _stack(home: Path, *parts: str) -> LocalStack:
    return LocalStack(StackOptions.on_free_ports(home, parts=parts))


@pytest.fixture(scope="session")
def sandbox_urls(stack: LocalStack) -> Iterator[list[str]]:
    numbers = ports.free(CASES_AT_ONCE)
    processes = [start_sandbox(port, stack.log(f"sandbox-{port}")) for port in numbers]
    yield [f"http://{ports.LOOPBACK}:{port}" for port in numbers]
    for process in processes:
        process.kill()
    for process in processes:
        process.join()
        process.close()


@pytest.fixture(scope="session")
async def matrix(stack: LocalStack, engine: AsyncEngine, temporal_client: Client, sandbox_urls: list[str]) -> Matrix:
    sandboxes: asyncio.Queue[str] = asyncio.Queue()
    for url in sandbox_urls:
        async with client_of(url) as client:
            await wait_until(lambda client=client: _responds(client))
        sandboxes.put_nowait(url)
    home = stack.home / "cases"
    home.mkdir()
    return Matrix(stack=stack, engine=engine, temporal=temporal_client, sandboxes=sandboxes, home=home)


async def _responds(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).is_success
    except httpx.TransportError:
        return False
