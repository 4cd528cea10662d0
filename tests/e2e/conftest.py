"""One deployment for all of these tests, each with its own shop and workers."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from database import Sessions
from local_stack.options import ALL_PARTS, StackOptions
from local_stack.stack import LocalStack
from settings import Settings
from tests.e2e.deployment import Deployment, api_process
from tests.stacks import client_of, engine, settings, temporal_client

__all__ = ["engine", "settings", "temporal_client"]

# The stack restarts what dies. Workers live and die as the tests decide.
PARTS = [part for part in ALL_PARTS if part != "worker"]


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[LocalStack]:
    home, env = tmp_path_factory.mktemp("deployment"), {"PURCHASE_DEADLINE_SECONDS": "10"}
    # Sealed, so that everything that reads workflow data has to open it.
    options = StackOptions.on_free_ports(home, parts=PARTS, demo_data=False, sealed=True, env=env)
    async with LocalStack(options) as stack:
        yield stack


@pytest.fixture(scope="session")
async def other_api(stack: LocalStack) -> AsyncGenerator[httpx.AsyncClient]:
    async with api_process(stack) as (_, client):
        yield client


@pytest.fixture
async def deployment(
    stack: LocalStack, settings: Settings, engine: AsyncEngine, temporal_client: Client, other_api: httpx.AsyncClient
) -> AsyncGenerator[Deployment]:
    """The deployment with a reset sandbox and without a worker."""
    async with client_of(stack.api_url) as api, client_of(stack.vendor_url) as vendors, AsyncExitStack() as programs:
        (await vendors.delete("/_sandbox")).raise_for_status()
        yield Deployment(
            settings=settings,
            store=Sessions(engine),
            temporal=temporal_client,
            api=api,
            vendors=vendors,
            worker_http=vendors,
            stack=stack,
            other_api=other_api,
            programs=programs,
        )
