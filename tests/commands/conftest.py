"""The command line, run in this process. Every test has its own database, as `stuck` and `audit` read all of it."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import NullPool, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from temporalio.testing import WorkflowEnvironment
from typer.testing import CliRunner

from cli import app
from database import Sessions, connect, migrate, sessions
from settings import Settings
from tests.commands.scenes import open_shop
from tests.service import Service
from tests.shop import Shop

_numbers = count(1)


@dataclass(frozen=True)
class Result:
    """Exit status and output of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, parsed."""
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """`pointsaga` with these environment variables."""

    env: Mapping[str, str]

    async def __call__(self, *words: str, status: int = 0, **env: str) -> Result:
        """Run a command, which must end with this exit status."""
        run = await asyncio.to_thread(CliRunner(env={**self.env, **env}).invoke, app, words)
        result = Result(run.exit_code, run.stdout, run.stderr)
        assert result.status == status, result
        return result

    async def start(self, *words: str, **env: str) -> Process:
        """Start a command in a process of its own, which can be killed."""
        command = (sys.executable, "-m", "cli", *words)
        env = {**os.environ, **self.env, **env}
        return await asyncio.create_subprocess_exec(*command, env=env, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)


@pytest.fixture(scope="session")
async def template(database_url: SecretStr) -> str:
    """Name of a migrated database to copy."""
    await _execute(database_url, "CREATE DATABASE template_of_commands")
    engine = connect(_at(database_url, "template_of_commands"))
    await migrate(engine)
    await engine.dispose()
    return "template_of_commands"


@pytest.fixture
async def engine(database_url: SecretStr, template: str) -> AsyncGenerator[AsyncEngine]:
    """The test's own database."""
    name = f"commands_{next(_numbers)}"
    await _execute(database_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    engine = connect(_at(database_url, name))
    yield engine
    await engine.dispose()


@pytest.fixture
def store(engine: AsyncEngine) -> Sessions:
    return sessions(engine)


@pytest.fixture
def own_settings(settings: Settings, engine: AsyncEngine) -> Settings:
    """Settings with the test's own database."""
    url = SecretStr(engine.url.render_as_string(hide_password=False))
    return settings.model_copy(update={"database_url": url})


@pytest.fixture
async def service(
    own_settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment
) -> AsyncGenerator[Service]:
    """API, worker and sandbox of this test."""
    async with Service.running(own_settings, engine, temporal.client) as service:
        yield service


@pytest.fixture
async def idle(own_settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment) -> AsyncGenerator[Service]:
    """The service without a worker. The test starts one."""
    async with Service.running(own_settings, engine, temporal.client, working=False) as service:
        yield service


@pytest.fixture
async def shop(service: Service) -> Shop:
    """A shop with one customer, who can buy once."""
    return await open_shop(service)


@pytest.fixture
def pointsaga(service: Service) -> CommandLine:
    """The command line of the service."""
    return command_line(service)


def command_line(service: Service) -> CommandLine:
    """The command line of a service."""
    settings = service.settings
    return CommandLine(
        {
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "ENCRYPTION_KEYS": settings.encryption_keys[0].get_secret_value(),
            "TEMPORAL_ADDRESS": service.temporal.service_client.config.target_host,
            "TEMPORAL_TASK_QUEUE": settings.temporal_task_queue,
            "TEMPORAL_UI_URL": "http://ui.test",
            "SHOPIFY_ADMIN_URL": settings.shopify_admin_url,
        }
    )


def _at(url: SecretStr, database: str) -> SecretStr:
    whole = make_url(url.get_secret_value()).set(database=database)
    return SecretStr(whole.render_as_string(hide_password=False))


async def _execute(url: SecretStr, statement: str) -> None:
    engine = create_async_engine(url.get_secret_value(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
