"""Which deployment a command acts on, and what it says if that does not answer."""

import asyncio
import json
import tomllib
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from cli import VERSION
from tests.commands.conftest import CommandLine
from tests.service import Service
from tests.shop import Shop

BLANK = CommandLine({})


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without settings, nor are there any in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "ENCRYPTION_KEYS", "TEMPORAL_ADDRESS", "TEMPORAL_TASK_QUEUE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write_stack(data_dir: Path, settings: dict[str, str]) -> None:
    data_dir.mkdir()
    (data_dir / "stack.json").write_text(json.dumps({"api_url": "http://127.0.0.1:1", "env": settings}))


async def test_a_local_stack_is_found(service: Service, shop: Shop, directory: Path) -> None:
    write_stack(directory / ".data", service.env)

    [listed] = (await BLANK("shops", "list", "--json")).json

    assert listed["domain"] == shop.domain
    assert shop.domain in (await BLANK("shops", "list")).out


async def test_a_local_stack_can_be_chosen(service: Service, shop: Shop, directory: Path) -> None:
    write_stack(directory / "other", service.env)
    (directory / ".env").write_text("DATABASE_URL=postgresql+asyncpg://user@127.0.0.1:1/database\n")

    result = await BLANK("--stack", "other", "shops", "list")

    assert shop.domain in result.out


async def test_the_environment_comes_before_the_stack(service: Service, directory: Path) -> None:
    write_stack(directory / "other", service.env)

    result = await BLANK("--stack", "other", "schedules", "apply", status=3, TEMPORAL_ADDRESS="127.0.0.1:1")

    assert "Temporal at 127.0.0.1:1 is unavailable" in result.err


@pytest.mark.parametrize("place", ["environment", ".env"])
async def test_a_found_stack_is_not_mixed_with_another_database(
    pointsaga: CommandLine, service: Service, shop: Shop, directory: Path, place: str
) -> None:
    elsewhere = {**service.env, "DATABASE_URL": "postgresql+asyncpg://user@127.0.0.1:1/database"}
    write_stack(directory / ".data", elsewhere)
    if place == ".env":
        (directory / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in service.env.items()))

    result = await (pointsaga if place == "environment" else BLANK)("shops", "list")

    assert shop.domain in result.out


async def test_a_stack_that_does_not_run_is_wrong_usage(directory: Path) -> None:
    assert "no local stack runs in nowhere" in (await BLANK("--stack", "nowhere", "shops", "list", status=2)).err
    assert "no local stack runs in .data" in (await BLANK("env", status=2)).err


async def test_env_prints_lines_for_a_shell(directory: Path) -> None:
    settings = {
        "DATABASE_URL": "postgresql+asyncpg://u@/d?host=%2Ftmp",
        "SHOPIFY_ADMIN_URL": "http://x/{shop} $HOME 'a'",
    }
    write_stack(directory / ".data", settings)

    lines = (await BLANK("env")).out

    quoted = " ".join(f'"${name}"' for name in settings)
    shell = await asyncio.create_subprocess_exec("sh", "-c", f"{lines}\nprintf %s {quoted}", stdout=PIPE)
    shown, _ = await shell.communicate()
    assert shown.decode() == "".join(settings.values())
    assert (await BLANK("env", "--json")).json == settings


async def test_an_unmigrated_database_is_said_to_be_that(pointsaga: CommandLine, engine: AsyncEngine) -> None:
    admin = create_async_engine(engine.url, isolation_level="AUTOCOMMIT")
    async with admin.connect() as connection:
        await connection.execute(text("DROP DATABASE IF EXISTS unmigrated"))
        await connection.execute(text("CREATE DATABASE unmigrated"))
    await admin.dispose()
    url = engine.url.set(database="unmigrated").render_as_string(hide_password=False)

    result = await pointsaga("shops", "list", status=2, DATABASE_URL=url)

    assert result.err.startswith("the database is not migrated: run `pointsaga migrate`")


async def test_an_absent_database_has_its_own_exit_status(pointsaga: CommandLine) -> None:
    url = "postgresql+asyncpg://user@127.0.0.1:1/database"

    result = await pointsaga("shops", "list", status=3, DATABASE_URL=url)

    assert result.err.startswith("the database cannot be reached: ")


async def test_the_version_is_the_projects(directory: Path) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

    assert (await BLANK("--version")).out == f"pointsaga {project['version']}\n"
    assert project["version"] == VERSION
