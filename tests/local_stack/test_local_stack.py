"""The stack as a whole, with as few parts as each test needs."""

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from local_stack import LocalStack, Misuse, Report, StackOptions, ports, silent
from tests.local_stack.standins import News, cli, running

UP = """
import sys
from pathlib import Path
from sandbox.stack import StackOptions, console
sys.exit(console.up(StackOptions.on_free_ports(Path(sys.argv[1]), parts=sys.argv[2:])))
"""


def with_postgres(data_dir: Path, report: Report = silent) -> LocalStack:
    return LocalStack(StackOptions.on_free_ports(data_dir, parts=["postgres"]), report)


def recorded_pids(data_dir: Path) -> dict[str, int]:
    return json.loads((data_dir / "stack.json").read_text())["pids"]


async def sql(stack: LocalStack, statement: str) -> list[int]:
    engine = create_async_engine(stack.database_url, poolclass=NullPool)
    async with engine.begin() as connection:
        result = await connection.execute(text(statement))
        return [row[0] for row in result] if result.returns_rows else []


async def up(data_dir: Path, *parts: str) -> Process:
    """`pointsaga up` with some parts only, once it says that it is up."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", UP, str(data_dir), *parts, stdout=PIPE)
    assert process.stdout
    async with asyncio.timeout(60):
        while b"Pointsaga is up" not in await process.stdout.readline():
            assert process.returncode is None
    return process


async def test_data_survives_a_restart_and_a_killed_stack(tmp_path: Path) -> None:
    async with with_postgres(tmp_path) as stack:
        await sql(stack, "CREATE TABLE kept AS SELECT 42 AS answer")
        first = stack.pids["postgres"]
    assert not running(first)

    killed = await up(tmp_path, "postgres")
    killed.kill()
    await killed.wait()

    async with with_postgres(tmp_path) as stack:
        assert await sql(stack, "SELECT answer FROM kept") == [42]
        assert stack.pids["postgres"] != first


async def test_a_postgres_that_dies_is_started_again_and_the_record_follows(tmp_path: Path) -> None:
    news = News()
    async with with_postgres(tmp_path, news) as stack:
        first = recorded_pids(tmp_path)["postgres"]

        os.kill(first, signal.SIGKILL)
        await news.until("is back")

        assert recorded_pids(tmp_path) == stack.pids != {"postgres": first}
        assert await sql(stack, "SELECT 1") == [1]


async def test_the_record_says_how_to_join_and_is_ours_alone(tmp_path: Path) -> None:
    async with with_postgres(tmp_path) as stack:
        path = tmp_path / "stack.json"
        record = json.loads(path.read_text())

        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert set(record) == {
            "api_url", "temporal_address", "temporal_ui_url", "database_url", "vendor_url", "pids", "env",
        }  # fmt: skip
        assert record["env"]["DATABASE_URL"] == record["database_url"] == stack.database_url
        assert record["pids"] == stack.pids
    assert not path.exists()


async def test_a_directory_too_deep_for_a_socket_has_it_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)

    async with with_postgres(deep) as stack:
        assert str(deep) not in stack.database_url
        assert await sql(stack, "SELECT 1") == [1]


async def test_the_environment_of_another_deployment_does_not_leak_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", "of the cloud")
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://production")
    monkeypatch.setenv("PURCHASE_DEADLINE_SECONDS", "7")

    async with LocalStack(StackOptions(data_dir=tmp_path, parts=[])) as stack:
        assert "TEMPORAL_API_KEY" not in stack.env
        assert "production" not in stack.env["DATABASE_URL"]
        assert stack.env["PURCHASE_DEADLINE_SECONDS"] == "7"


async def test_without_the_sandbox_the_vendors_are_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLAVIYO_URL", "https://klaviyo.test")

    async with LocalStack(StackOptions(data_dir=tmp_path, parts=[])) as stack:
        assert stack.env["KLAVIYO_URL"] == "https://klaviyo.test"
        assert "OMNISEND_URL" not in stack.env


async def test_a_directory_that_cannot_be_used_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()

    status, said = await cli("up", "--data-dir", str(tmp_path / "a-file"))

    assert status == 1
    assert said.startswith("Logs in")
    assert "error: " in said
    assert "Traceback" not in said


async def test_the_encryption_key_stays_the_same_and_private(tmp_path: Path) -> None:
    async with LocalStack(StackOptions(data_dir=tmp_path, parts=[])) as first:
        pass
    async with LocalStack(StackOptions(data_dir=tmp_path, parts=[])) as second:
        pass

    assert first.env["ENCRYPTION_KEYS"] == second.env["ENCRYPTION_KEYS"]
    assert stat.S_IMODE((tmp_path / "encryption.key").stat().st_mode) == 0o600


async def test_a_second_stack_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    async with LocalStack(StackOptions(data_dir=tmp_path, parts=[])):
        with pytest.raises(Misuse, match=rf"in use by another local stack \(process {os.getpid()}\)"):
            async with LocalStack(StackOptions(data_dir=tmp_path, parts=[])):
                pass
        assert (tmp_path / "stack.json").exists()

        status, said = await cli("up", "--data-dir", str(tmp_path))

    assert status == 2
    assert "--data-dir" in said


async def test_up_on_a_port_in_use_names_it_and_starts_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        api, temporal = map(str, ports.free(2))
        status, said = await cli(
            "up", "--data-dir", str(tmp_path), "--api-port", api, "--temporal-port", temporal, "--ui-port", str(port)
        )

    assert status == 2
    assert f"port {port} for the Temporal UI" in said
    assert "--ui-port" in said
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_all_of_it_and_that_is_no_failure(tmp_path: Path, number: signal.Signals) -> None:
    process = await up(tmp_path, "postgres", "temporal")
    pids = recorded_pids(tmp_path)
    assert set(pids) == {"postgres", "temporal"}

    process.send_signal(number)

    await process.communicate()
    assert process.returncode == 0
    assert not any(running(pid) for pid in pids.values())
    assert not (tmp_path / "stack.json").exists()


async def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    process = await up(tmp_path, "postgres", "temporal")
    pids = recorded_pids(tmp_path)
    os.kill(pids["temporal"], signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    assert process.stdout
    while b"stopping" not in await process.stdout.readline():
        assert process.returncode is None

    process.send_signal(signal.SIGINT)

    said, _ = await process.communicate()
    assert b"did not stop within" not in said
    assert not any(running(pid) for pid in pids.values())
