"""Fixtures of all tests: PostgreSQL, the Temporal server, and the service in front of the vendor sandbox."""

import asyncio
import gc
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.testing import WorkflowEnvironment

from clients.sealed_payloads import data_converter
from database import Sessions, connect, migrate
from db.tables import Base
from local_stack.options import StackOptions, vendor_settings
from local_stack.stack import LocalStack
from settings import Settings
from telemetry import sdk_runtime
from tests.builders import a_customer, a_lot, a_shop
from tests.scheduling import pytest_xdist_make_scheduler
from tests.service import Service
from tests.shop import Shop
from tests.stacks import configure
from workflows.progress import SEARCH_ATTRIBUTES

__all__ = ["pytest_xdist_make_scheduler"]

QUICK = "quick"
"""Profile of hypothesis with which the longest property test generates fewer examples."""
for _profile in ("tests", QUICK):
    # On a busy machine the clock says nothing about a test: a process can wait two seconds for a processor.
    hypothesis_settings.register_profile(
        _profile, hypothesis_settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
hypothesis_settings.load_profile("tests")
SLOW = ["e2e", "crash", "properties", "contract", "local_stack", "chaos", "benchmarks"]
"""Directories of tests, slowest first."""
OWN_PROCESSES = {"e2e", "crash", "local_stack", "chaos", "benchmarks"}
"""Directories whose tests start processes, including Temporal."""


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[LocalStack]:
    """A PostgreSQL server."""
    options = StackOptions(data_dir=tmp_path_factory.mktemp("stack"), parts=["postgres"])
    async with LocalStack(options) as stack:
        yield stack


@pytest.fixture(scope="session")
def database_url(postgres: LocalStack) -> SecretStr:
    return SecretStr(postgres.database_url)


@pytest.fixture(scope="session")
async def engine(database_url: SecretStr) -> AsyncGenerator[AsyncEngine]:
    """The migrated database."""
    engine = connect(database_url)
    # These tests kill no server, so that commits need not wait for the disk.
    await configure(engine, fsync="off", synchronous_commit="off", full_page_writes="off")
    await migrate(engine)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
def store(engine: AsyncEngine) -> Sessions:
    return Sessions(engine)


@pytest.fixture(scope="session")
def payload_keys(pytestconfig: pytest.Config) -> tuple[SecretStr, ...]:
    """The keys of workflow data. By default it is clear."""
    return (SecretStr(Fernet.generate_key().decode()),) if pytestconfig.getoption("--sealed") else ()


@pytest.fixture(scope="session")
def settings(database_url: SecretStr, payload_keys: tuple[SecretStr, ...]) -> Settings:
    """Settings with the vendors at the sandbox."""
    vendors = {name.lower(): url for name, url in vendor_settings("http://vendors").items()}
    return Settings.model_validate(
        {
            **vendors,
            "database_url": database_url,
            "encryption_keys": Fernet.generate_key().decode(),
            "payload_keys": payload_keys,
            "shopify_webhook_secrets": "the-new-secret, the-old-secret",
            "log_format": "text",
            "log_level": "WARNING",
            # Tests of the rate limit set their own.
            "rate_limit": "1000/second",
        }
    )


@pytest.fixture(scope="session")
async def temporal(payload_keys: tuple[SecretStr, ...]) -> AsyncGenerator[WorkflowEnvironment]:
    """A Temporal server that skips time while every workflow waits."""
    async with await _start_temporal(data_converter(payload_keys, "default")) as environment:
        yield environment


async def _start_temporal(converter: DataConverter, attempts: int = 6) -> WorkflowEnvironment:
    """Start the server, with retries: the SDK gives it five seconds, too few on a busy machine."""
    dynamic_config = [
        "frontend.WorkflowTimeSkippingEnabled=true",
        # Enough for a day of retries, one each minute. The default of 200 skips is not.
        "frontend.WorkflowTimeSkippingMaxSkipPerSession=10000",
        # How far the server reads timers ahead. The end of a skip waits that long; the default is a second.
        'history.timerProcessorMaxTimeShift="100ms"',
        "matching.enableFairness=true",
        "matching.numTaskqueueReadPartitions=1",
        "matching.numTaskqueueWritePartitions=1",
        "history.transferProcessorMaxPollRPS=1000",
        "history.timerProcessorMaxPollRPS=1000",
        "history.visibilityProcessorMaxPollRPS=1000",
        "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=1",
    ]
    try:
        return await WorkflowEnvironment.start_time_skipping_v2(
            dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
            dev_server_extra_args=[f"--dynamic-config-value={value}" for value in dynamic_config],
            data_converter=converter,
            # With the heartbeats of real workers.
            runtime=sdk_runtime(),
            search_attributes=SEARCH_ATTRIBUTES,
        )
    except RuntimeError:
        if attempts == 1:
            raise
        await asyncio.sleep(1)
        return await _start_temporal(converter, attempts - 1)


Running = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture
async def _empty_database(engine: AsyncEngine) -> None:
    """Delete the rows of earlier tests: the reconciler would recover their redemptions."""
    deletions = [f"DELETE FROM {table.name};" for table in reversed(Base.metadata.sorted_tables)]
    async with engine.begin() as connection:
        # Without triggers, as the ledger is append-only.
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        # In one round trip.
        await connection.execute(text(f"DO $$ BEGIN {' '.join(deletions)} END $$"))


@pytest.fixture
def running(settings: Settings, engine: AsyncEngine, _empty_database: None) -> Running:
    """Runs a service on an empty database."""
    return partial(Service.running, settings, engine)


@pytest.fixture
async def service(running: Running, temporal: WorkflowEnvironment) -> AsyncGenerator[Service]:
    """API, worker and sandbox of this test."""
    async with running(temporal.client) as service:
        yield service


@pytest.fixture
async def idle(running: Running, temporal: WorkflowEnvironment) -> AsyncGenerator[Service]:
    """The service without a worker."""
    async with running(temporal.client, working=False) as service:
        yield service


@pytest.fixture
async def without_temporal(running: Running) -> AsyncGenerator[Service]:
    """The service without worker and Temporal."""
    async with running(await Client.connect("127.0.0.1:1", lazy=True), working=False) as service:
        yield service


@pytest.fixture
async def shop(service: Service) -> Shop:
    """A shop with one customer, who has 500 points and can purchase once."""
    return await service.open_shop(a_shop(a_customer(a_lot(500))))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this test suite."""
    parser.addoption("--quick", action="store_true", help="only tests that need no Temporal server")
    parser.addoption("--record-histories", action="store_true", help="record tests/workflows/histories anew")
    parser.addoption("--sealed", action="store_true", help="seal workflow data (docs/sealing.md)")
    parser.addoption("--outage-hours", type=float, default=0.2, help="length of outages, in skipped time")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed of the property tests here, so that the header shows it and all processes share it."""
    config.option.hypothesis_seed = config.option.hypothesis_seed or str(secrets.randbelow(10**6))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the slowest tests, as the last to begin decides when all end."""
    items.sort(key=lambda item: [*SLOW, item.path.parent.name].index(item.path.parent.name))
    if config.getoption("--quick"):
        config.hook.pytest_deselected(items=[item for item in items if _needs_temporal(item)])
        items[:] = [item for item in items if not _needs_temporal(item)]


def _needs_temporal(item: pytest.Item) -> bool:
    fixtures = item.fixturenames if isinstance(item, pytest.Function) else ()
    return not {"temporal", "stack"}.isdisjoint(fixtures)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import what --quick leaves out."""
    return True if config.getoption("--quick") and collection_path.name in OWN_PROCESSES else None


def pytest_collection_finish() -> None:
    """Exempt what the imports have made from garbage collection, which would visit it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _collect_garbage() -> Generator[None]:
    """Collect what the tests of a module have left, and exempt the rest.

    Otherwise the heap grows, and a collection takes half a second or more on a busy machine. In the thread of a
    workflow that looks like a deadlock to Temporal's SDK, which interrupts it wherever it is.
    """
    yield
    gc.collect()
    gc.freeze()


def pytest_report_header(config: pytest.Config) -> str:
    """Show the seed, so that random choices can be repeated."""
    return f"property tests: repeat with --hypothesis-seed={config.option.hypothesis_seed}"


def pytest_sessionfinish() -> None:
    """The SDK can abort an interpreter that ends while its threads are busy (sdk-python issue 300)."""
    gc.collect()
    time.sleep(0.2)
