"""Wrong settings end a process with a message that a stranger can act on, and without the secret."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from settings import read_settings

ROOT = Path(__file__).parents[1]
KEY = Fernet.generate_key().decode()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "ENCRYPTION_KEYS: Field required"),
        ({"ENCRYPTION_KEYS": "s3cret"}, "ENCRYPTION_KEYS: Value error, key 1 is no Fernet key"),
        ({"ENCRYPTION_KEYS": KEY, "DATABASE_URL": "sqlite://s3cret"}, "DATABASE_URL: Value error, must begin with"),
        ({"ENCRYPTION_KEYS": KEY, "RATE_LIMIT": "often"}, "RATE_LIMIT: Value error, couldn't parse rate limit"),
        ({"ENCRYPTION_KEYS": KEY, "RATE_LIMIT": "0/second"}, "RATE_LIMIT: Value error, a limit must let at least one"),
        (
            {"ENCRYPTION_KEYS": KEY, "RATE_LIMIT_STORAGE_URL": "redis://:s3cret/@host"},
            "RATE_LIMIT_STORAGE_URL: Value error, is no address like redis://",
        ),
        ({"ENCRYPTION_KEYS": KEY, "PURCHASE_DEADLINE_SECONDS": "0"}, "PURCHASE_DEADLINE_SECONDS: Input should be"),
    ],
)
def test_wrong_settings_are_named_and_not_told(
    environment: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit, match=r"^2$"):
        read_settings()

    error = capsys.readouterr().err
    assert said in error
    assert "s3cret" not in error


@pytest.mark.parametrize(
    "command", [["-m", "worker"], ["-m", "cli", "audit"], ["-m", "uvicorn", "--factory", "api.app:create_app"]]
)
def test_a_process_with_wrong_settings_ends_with_their_names(command: list[str]) -> None:
    environment = {"ENCRYPTION_KEYS": KEY, "DATABASE_URL": "sqlite://s3cret"}
    process = subprocess.run(
        [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )

    assert process.returncode == 2
    assert "DATABASE_URL: Value error, must begin with" in process.stderr
    assert "s3cret" not in process.stderr
    assert "Traceback" not in process.stderr
