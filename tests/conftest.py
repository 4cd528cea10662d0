"""Real parts for every test: PostgreSQL, the Temporal server, and the vendor sandbox at the wire."""

import asyncio
import gc
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from database import Sessions, connect, migrate, sessions
from local_stack.options import StackOptions, vendor_settings
from local_stack.stack import LocalStack
from settings import Settings
from tests.service import Service
from workflows.progress import SEARCH_ATTRIBUTES

LONG = ["e2e", "crash", "properties", "contract", "local_stack", "chaos", "benchmarks"]
"""Directories of tests, the one that takes longest first."""


@pytest.fixture(scope="session")
async def database_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[SecretStr]:
    """A PostgreSQL server of the test session's own."""
    options = StackOptions(data_dir=tmp_path_factory.mktemp("stack"), parts=["postgres"])
    async with LocalStack(options) as stack:
        yield SecretStr(stack.database_url)


@pytest.fixture(scope="session")
async def engine(database_url: SecretStr) -> AsyncGenerator[AsyncEngine]:
    """The migrated database."""
    engine = connect(database_url)
    await migrate(engine)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
def store(engine: AsyncEngine) -> Sessions:
    """Sessions on the migrated database. Tests keep apart by having shops of their own."""
    return sessions(engine)


@pytest.fixture(scope="session")
def settings(database_url: SecretStr) -> Settings:
    """Settings of the test session, with the vendors at the sandbox."""
    vendors = {name.lower(): url for name, url in vendor_settings("http://vendors").items()}
    return Settings.model_validate(
        {
            **vendors,
            "database_url": database_url,
            "encryption_keys": Fernet.generate_key().decode(),
            "shopify_webhook_secrets": "the-new-secret, the-old-secret",
            "log_format": "text",
            "log_level": "WARNING",
            # Tests call as fast as they can; those of the limit set their own.
            "rate_limit": "1000/second",
        }
    )


@pytest.fixture(scope="session")
async def temporal() -> AsyncGenerator[WorkflowEnvironment]:
    """A real Temporal server on which a workflow that waits skips ahead in time."""
    async with await _patiently(_start_temporal) as environment:
        yield environment


async def _start_temporal() -> WorkflowEnvironment:
    return await WorkflowEnvironment.start_time_skipping_v2(
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        dev_server_extra_args=[
            "--dynamic-config-value=frontend.WorkflowTimeSkippingEnabled=true",
            # A day of retries, a minute each; after 200 skips it would go on in real time.
            "--dynamic-config-value=frontend.WorkflowTimeSkippingMaxSkipPerSession=10000",
            "--dynamic-config-value=history.transferProcessorMaxPollRPS=1000",
            "--dynamic-config-value=history.timerProcessorMaxPollRPS=1000",
            "--dynamic-config-value=history.visibilityProcessorMaxPollRPS=1000",
            "--dynamic-config-value=system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=1",
        ],
        data_converter=pydantic_data_converter,
        search_attributes=SEARCH_ATTRIBUTES,
    )


async def _patiently(start: Callable[[], Awaitable[WorkflowEnvironment]]) -> WorkflowEnvironment:
    """The SDK gives the server five seconds, which a busy machine may not have."""
    for _ in range(5):
        try:
            return await start()
        except RuntimeError:
            await asyncio.sleep(1)
    return await start()


@pytest.fixture
async def service(settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment) -> AsyncGenerator[Service]:
    """API, worker and sandbox of this test alone, in this process."""
    async with Service.running(settings, engine, temporal.client) as service:
        yield service


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this test suite."""
    parser.addoption("--record-histories", action="store_true", help="write tests/workflows/histories anew")
    parser.addoption("--outage-hours", type=float, default=0.2, help="how long somebody is away in skipped time")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed of the property tests here, so that a run can say it, and its processes share it."""
    config.option.hypothesis_seed = config.option.hypothesis_seed or str(secrets.randbelow(10**6))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, for what begins last decides when all ends."""
    for item in items:
        # Each of these brings processes of its own and has its deadlines: not side by side.
        is_heavy = item.path.parent.name in {"e2e", "crash"}
        item.add_marker(pytest.mark.xdist_group("processes" if is_heavy else str(item.path)))
    items.sort(key=lambda item: [*LONG, item.path.parent.name].index(item.path.parent.name))


def pytest_report_header(config: pytest.Config) -> str:
    """The line that repeats a run's random choices."""
    return f"property tests: repeat with --hypothesis-seed={config.option.hypothesis_seed}"


def pytest_sessionfinish() -> None:
    """The SDK can abort an interpreter that ends while its threads are busy (sdk-python issue 300)."""
    gc.collect()
    time.sleep(0.2)
