"""Invalid settings end a process with a message that names the setting and omits its value."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from settings import read_codec_settings, read_settings

ROOT = Path(__file__).parents[1]
KEY = Fernet.generate_key().decode()
Rejection = Callable[[Callable[[], object], dict[str, str]], str]


@pytest.fixture
def rejection(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Rejection:
    """Reads settings with nothing but this environment; returns the message that the process ends with."""

    def rejection(read: Callable[[], object], environment: dict[str, str]) -> str:
        monkeypatch.chdir(tmp_path)
        for name in os.environ:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit, match=r"^2$"):
            read()
        return capsys.readouterr().err

    return rejection


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "ENCRYPTION_KEYS: Field required"),
        ({"ENCRYPTION_KEYS": "s3cret"}, "ENCRYPTION_KEYS: Value error, key 1 is not a Fernet key"),
        ({"ENCRYPTION_KEYS": KEY, "DATABASE_URL": "sqlite://s3cret"}, "DATABASE_URL: Value error, must begin with"),
        ({"ENCRYPTION_KEYS": KEY, "RATE_LIMIT": "often"}, "RATE_LIMIT: Value error, couldn't parse rate limit"),
        ({"ENCRYPTION_KEYS": KEY, "RATE_LIMIT": "0/second"}, "RATE_LIMIT: Value error, a limit must allow"),
        (
            {"ENCRYPTION_KEYS": KEY, "RATE_LIMIT_STORAGE_URL": "redis://:s3cret/@host"},
            "RATE_LIMIT_STORAGE_URL: Value error, must be a URL like redis://",
        ),
        ({"ENCRYPTION_KEYS": KEY, "PAYLOAD_KEYS": f"{KEY},s3cret"}, "PAYLOAD_KEYS: Value error, key 2 is not a Fernet"),
        ({"ENCRYPTION_KEYS": KEY, "PAYLOAD_KEYS": "clear"}, "PAYLOAD_KEYS: Value error, `clear` is followed by"),
        ({"ENCRYPTION_KEYS": KEY, "PURCHASE_DEADLINE_SECONDS": "0"}, "PURCHASE_DEADLINE_SECONDS: Input should be"),
        ({"ENCRYPTION_KEYS": KEY, "UNUSED_ORDER_DAYS": "0"}, "UNUSED_ORDER_DAYS: Input should be greater"),
        ({"ENCRYPTION_KEYS": KEY, "WEBHOOK_DAYS": "1000000000"}, "WEBHOOK_DAYS: Input should be less"),
        ({"ENCRYPTION_KEYS": KEY, "REFUSAL_DAYS": "31"}, "REFUSAL_DAYS: Value error, must be at most IDEMPOTENCY_KEY"),
    ],
)
def test_an_invalid_setting_is_named_without_its_value(
    environment: dict[str, str], message: str, rejection: Rejection
) -> None:
    error = rejection(read_settings, environment)

    assert message in error
    assert "s3cret" not in error


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"CODEC_KEYS": "s3cret"}, "CODEC_KEYS: Value error, key 1 must have at least 32"),
        ({"CODEC_ORIGINS": "https://temporal.example.com,*"}, "CODEC_ORIGINS: Value error, origin 2 must be like"),
        ({"CODEC_ORIGINS": "https://temporal.example.com/"}, "CODEC_ORIGINS: Value error, origin 1 must be like"),
    ],
)
def test_the_codec_server_reads_its_own_settings_only(
    environment: dict[str, str], message: str, rejection: Rejection
) -> None:
    lines = rejection(read_codec_settings, environment).splitlines()

    assert [message in line for line in lines[1:]] == [True]
    assert "s3cret" not in lines[1]


@pytest.mark.parametrize(
    "command", [["-m", "worker"], ["-m", "cli", "audit"], ["-m", "uvicorn", "--factory", "api.app:create_app"]]
)
def test_a_process_with_invalid_settings_exits(command: list[str]) -> None:
    environment = {"ENCRYPTION_KEYS": KEY, "DATABASE_URL": "sqlite://s3cret"}
    process = subprocess.run(
        [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )

    assert process.returncode == 2
    assert "DATABASE_URL: Value error, must begin with" in process.stderr
    assert "s3cret" not in process.stderr
    assert "Traceback" not in process.stderr
