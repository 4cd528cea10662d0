"""One deployment for all of these tests, each of which has a shop, and workers, of its own."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import httpx
import pytest
from temporalio.client import Client

from database import Sessions, connect, sessions
from local_stack.options import ALL_PARTS, StackOptions
from local_stack.stack import LocalStack
from settings import Settings, connect_temporal
from tests.e2e.deployment import Deployment, a_client, an_api

DEADLINE_SECONDS = 10
WITHOUT_WORKER = [part for part in ALL_PARTS if part != "worker"]
"""The stack starts again whatever dies; when a worker lives is for the tests to say."""


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[LocalStack]:
    """Database, engine, vendors and one API."""
    options = StackOptions.on_free_ports(
        tmp_path_factory.mktemp("deployment"),
        parts=WITHOUT_WORKER,
        demo_data=False,
        env={"PURCHASE_DEADLINE_SECONDS": str(DEADLINE_SECONDS)},
    )
    async with LocalStack(options) as stack:
        yield stack


@pytest.fixture(scope="session")
def settings(stack: LocalStack) -> Settings:
    """The settings that every process of the deployment has."""
    return Settings.model_validate({name.lower(): value for name, value in stack.env.items()})


@pytest.fixture(scope="session")
async def store(settings: Settings) -> AsyncGenerator[Sessions]:
    """The deployment's database."""
    engine = connect(settings.database_url)
    yield sessions(engine)
    await engine.dispose()


@pytest.fixture(scope="session")
async def engine_client(settings: Settings) -> Client:
    """The deployment's Temporal."""
    return await connect_temporal(settings)


@pytest.fixture(scope="session")
async def other_api(stack: LocalStack) -> AsyncGenerator[httpx.AsyncClient]:
    """A second API process beside the stack's."""
    async with an_api(stack) as (_, client):
        yield client


@pytest.fixture
async def deployment(
    stack: LocalStack, settings: Settings, store: Sessions, engine_client: Client, other_api: httpx.AsyncClient
) -> AsyncGenerator[Deployment]:
    """All of it, with vendors on their first day and no worker yet."""
    async with (
        a_client(stack.api_url) as api,
        a_client(stack.vendor_url) as vendors,
        AsyncExitStack() as programs,
    ):
        (await vendors.delete("/_sandbox")).raise_for_status()
        yield Deployment(
            settings=settings,
            store=store,
            temporal=engine_client,
            api=api,
            vendors=vendors,
            worker_http=vendors,
            stack=stack,
            other_api=other_api,
            programs=programs,
        )
