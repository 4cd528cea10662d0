"""The whole stack, with the parts that each test needs."""

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

from local_stack import Misuse, ports
from local_stack.options import StackOptions
from local_stack.stack import LocalStack, silent
from local_stack.supervisor import Report
from tests.local_stack.stand_ins import Messages, cli, running

UP = """
import sys
from pathlib import Path
from local_stack import console
from local_stack.options import StackOptions
sys.exit(console.up(StackOptions.on_free_ports(Path(sys.argv[1]), parts=sys.argv[2:])))
"""


def local_stack(data_dir: Path, *parts: str, report: Report = silent) -> LocalStack:
    return LocalStack(StackOptions.on_free_ports(data_dir, parts=parts), report)


def recorded_pids(data_dir: Path) -> dict[str, int]:
    return json.loads((data_dir / "stack.json").read_text())["pids"]


async def sql(stack: LocalStack, statement: str) -> list[int]:
    engine = create_async_engine(stack.database_url, poolclass=NullPool)
    async with engine.begin() as connection:
        result = await connection.execute(text(statement))
        return [row[0] for row in result] if result.returns_rows else []


async def up(data_dir: Path, *parts: str) -> Process:
    """`pointsaga up` with these parts. Returns when it is ready."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", UP, str(data_dir), *parts, stdout=PIPE)
    assert process.stdout
    async with asyncio.timeout(60):
        while b"Pointsaga is up" not in await process.stdout.readline():
            assert process.returncode is None
    return process


async def test_data_survives_restarts_and_kills(tmp_path: Path) -> None:
    async with local_stack(tmp_path, "postgres") as stack:
        await sql(stack, "CREATE TABLE kept AS SELECT 42 AS answer")
        first = stack.pids["postgres"]
    assert not running(first)

    killed = await up(tmp_path, "postgres")
    killed.kill()
    await killed.wait()

    async with local_stack(tmp_path, "postgres") as stack:
        assert await sql(stack, "SELECT answer FROM kept") == [42]
        assert stack.pids["postgres"] != first


async def test_a_restarted_postgres_updates_stack_json(tmp_path: Path) -> None:
    messages = Messages()
    async with local_stack(tmp_path, "postgres", report=messages) as stack:
        first = recorded_pids(tmp_path)["postgres"]

        os.kill(first, signal.SIGKILL)
        await messages.until("ready again")

        assert recorded_pids(tmp_path) == stack.pids != {"postgres": first}
        assert await sql(stack, "SELECT 1") == [1]


async def test_stack_json_is_complete_and_private(tmp_path: Path) -> None:
    async with local_stack(tmp_path, "postgres") as stack:
        path = tmp_path / "stack.json"
        record = json.loads(path.read_text())

        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert set(record) == {
            "api_url", "temporal_address", "temporal_ui_url", "database_url", "vendor_url", "metrics_urls",
            "pids", "env",
        }  # fmt: skip
        assert record["env"]["DATABASE_URL"] == record["database_url"] == stack.database_url
        assert record["pids"] == stack.pids
    assert not path.exists()


async def test_a_long_path_moves_the_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)

    async with local_stack(deep, "postgres") as stack:
        assert str(deep) not in stack.database_url
        assert await sql(stack, "SELECT 1") == [1]


async def test_settings_of_another_deployment_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", "cloud")
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://production")
    monkeypatch.setenv("PURCHASE_DEADLINE_SECONDS", "7")
    monkeypatch.setenv("METRICS_ADDRESS", "0.0.0.0:9464")

    async with local_stack(tmp_path) as stack:
        assert not {"TEMPORAL_API_KEY", "METRICS_ADDRESS"} & set(stack.env)
        assert "production" not in stack.env["DATABASE_URL"]
        assert stack.env["PURCHASE_DEADLINE_SECONDS"] == "7"


async def test_without_sandbox_vendors_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLAVIYO_URL", "https://klaviyo.test")

    async with local_stack(tmp_path) as stack:
        assert stack.env["KLAVIYO_URL"] == "https://klaviyo.test"
        assert "OMNISEND_URL" not in stack.env


async def test_an_unusable_directory_is_an_error_without_traceback(tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()

    status, output = await cli("up", "--data-dir", str(tmp_path / "a-file"))

    assert status == 1
    assert output.startswith("Logs in")
    assert "error: " in output
    assert "Traceback" not in output


async def test_the_encryption_key_is_stable_and_private(tmp_path: Path) -> None:
    async with local_stack(tmp_path) as first:
        pass
    async with local_stack(tmp_path) as second:
        pass

    assert first.env["ENCRYPTION_KEYS"] == second.env["ENCRYPTION_KEYS"]
    assert stat.S_IMODE((tmp_path / "encryption.key").stat().st_mode) == 0o600


async def test_a_directory_has_one_stack(tmp_path: Path) -> None:
    async with local_stack(tmp_path):
        with pytest.raises(Misuse, match=rf"in use by another local stack \(process {os.getpid()}\)"):
            async with local_stack(tmp_path):
                pass
        assert (tmp_path / "stack.json").exists()

        status, output = await cli("up", "--data-dir", str(tmp_path))

    assert status == 2
    assert "--data-dir" in output


async def test_a_port_in_use_prevents_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        api, temporal = map(str, ports.free(2))
        status, output = await cli(
            "up", "--data-dir", str(tmp_path), "--api-port", api, "--temporal-port", temporal, "--ui-port", str(port)
        )

    assert status == 2
    assert f"port {port} for the Temporal UI" in output
    assert "--ui-port" in output
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_all_parts_with_status_0(tmp_path: Path, number: signal.Signals) -> None:
    process = await up(tmp_path, "postgres", "temporal")
    pids = recorded_pids(tmp_path)
    assert set(pids) == {"postgres", "temporal"}

    process.send_signal(number)

    await process.communicate()
    assert process.returncode == 0
    assert not any(running(pid) for pid in pids.values())
    assert not (tmp_path / "stack.json").exists()


async def test_a_second_ctrl_c_kills_the_parts(tmp_path: Path) -> None:
    process = await up(tmp_path, "postgres", "temporal")
    pids = recorded_pids(tmp_path)
    os.kill(pids["temporal"], signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    assert process.stdout
    while b"stopping" not in await process.stdout.readline():
        assert process.returncode is None

    process.send_signal(signal.SIGINT)

    output, _ = await process.communicate()
    assert b"did not stop within" not in output
    assert not any(running(pid) for pid in pids.values())
