"""Fixtures of the API tests."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import WorkflowEnvironment

from settings import Settings
from tests.builders import a_customer, a_lot, a_shop
from tests.service import Service
from tests.shop import Shop


@pytest.fixture
async def shop(service: Service) -> AsyncGenerator[Shop]:
    """A shop with one customer, who has 300 old and 900 newer points. Afterwards the ledger is audited."""
    yield await service.open_shop(a_shop(a_customer(a_lot(300, days_old=20), a_lot(900))))
    assert await service.audit() == []


@pytest.fixture
async def impatient(
    settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment, _empty_database: None
) -> AsyncGenerator[Service]:
    """A service without worker, whose purchases and refunds time out after 3 s."""
    settings = settings.model_copy(update={"purchase_deadline_seconds": 3})
    async with Service.running(settings, engine, temporal.client, working=False) as service:
        yield service
        assert await service.audit() == []


@pytest.fixture
async def unresponsive() -> AsyncGenerator[str]:
    """Address of a server that accepts connections and sends nothing."""
    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for writer in connections:
        writer.close()
    server.close()
