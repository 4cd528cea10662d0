"""Commands, run as an operator would, each test on a database of its own: `stuck` looks at all there is."""

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
from tests.service import Service

_numbers = count(1)


@dataclass(frozen=True)
class Said:
    """What a command said: `out` for programs, `err` for people."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The result for programs."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Pointsaga:
    """The command line, with the settings of the service."""

    env: Mapping[str, str]

    async def __call__(self, *words: str, status: int = 0, **env: str) -> Said:
        """Run a command to its end, which must have this exit status."""
        result = await asyncio.to_thread(CliRunner(env={**self.env, **env}).invoke, app, words)
        said = Said(result.exit_code, result.stdout, result.stderr)
        assert said.status == status, said
        return said


@pytest.fixture(scope="session")
async def template(database_url: SecretStr) -> str:
    """The name of a migrated database that others are made from."""
    await _execute(database_url, "CREATE DATABASE template_of_commands")
    engine = connect(_at(database_url, "template_of_commands"))
    await migrate(engine)
    await engine.dispose()
    return "template_of_commands"


@pytest.fixture
async def engine(database_url: SecretStr, template: str) -> AsyncGenerator[AsyncEngine]:
    """A database of this test's own."""
    name = f"commands_{next(_numbers)}"
    await _execute(database_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    engine = connect(_at(database_url, name))
    yield engine
    await engine.dispose()


@pytest.fixture
def store(engine: AsyncEngine) -> Sessions:
    """Sessions on it."""
    return sessions(engine)


@pytest.fixture
def own_settings(settings: Settings, engine: AsyncEngine) -> Settings:
    """Settings with this test's database."""
    url = SecretStr(engine.url.render_as_string(hide_password=False))
    return settings.model_copy(update={"database_url": url})


@pytest.fixture
async def service(
    own_settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment
) -> AsyncGenerator[Service]:
    """API, worker and sandbox of this test alone."""
    async with Service.running(own_settings, engine, temporal.client) as service:
        yield service


@pytest.fixture
async def idle(own_settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment) -> AsyncGenerator[Service]:
    """The service, whose worker is started by the test."""
    async with Service.running(own_settings, engine, temporal.client, working=False) as service:
        yield service


@pytest.fixture
def pointsaga(service: Service) -> Pointsaga:
    """The command line of the service."""
    return command_line(service)


def command_line(service: Service) -> Pointsaga:
    """The command line of a service."""
    settings = service.settings
    return Pointsaga(
        {
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "ENCRYPTION_KEYS": settings.encryption_keys[0].get_secret_value(),
            "TEMPORAL_ADDRESS": service.temporal.service_client.config.target_host,
            "TEMPORAL_TASK_QUEUE": settings.temporal_task_queue,
            "TEMPORAL_UI_URL": "http://ui.test",
            "SHOPIFY_ADMIN_URL": settings.shopify_admin_url,
        }
    )


async def a_process(pointsaga: Pointsaga, *words: str) -> Process:
    """The command in a process of its own, which can be killed."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli",
        *words,
        env={**os.environ, **pointsaga.env},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )


def _at(url: SecretStr, database: str) -> SecretStr:
    whole = make_url(url.get_secret_value()).set(database=database)
    return SecretStr(whole.render_as_string(hide_password=False))


async def _execute(url: SecretStr, statement: str) -> None:
    engine = create_async_engine(url.get_secret_value(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
