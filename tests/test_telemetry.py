"""What is logged, and how often."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
import structlog
from cryptography.fernet import Fernet
from temporalio.exceptions import ApplicationError

import telemetry
from telemetry import REPEATS_SHOWN, configure_logging

ROOT = Path(__file__).parents[1]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """Everything that is logged."""
    written = StringIO()
    monkeypatch.setattr("sys.stderr", written)
    configure_logging("INFO", "json")
    return written


def test_a_repeated_warning_is_counted(lines: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    log = structlog.stdlib.get_logger("test")

    for number in range(REPEATS_SHOWN + 7):
        log.warning("no answer", redemption_id=f"cr_{number}")
    monkeypatch.setattr(telemetry, "REPEATS_WITHIN_SECONDS", 0)
    log.warning("no answer", redemption_id="cr_last")

    *shown, last = lines.getvalue().splitlines()
    assert len(shown) == REPEATS_SHOWN
    assert '"not_shown": 7' in last
    assert "cr_last" in last


def test_another_shop_and_every_request_are_shown(lines: StringIO) -> None:
    log = structlog.stdlib.get_logger("test")

    for number in range(50):
        log.info("request", route="/v1/rewards")
        log.error("rejected", shop_id=number)

    assert len(lines.getvalue().splitlines()) == 100


def test_an_hour_of_an_outage_adds_less_than_a_megabyte(lines: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three failures a second, of 200 shops."""
    log, now = structlog.stdlib.get_logger("test"), [0.0]
    reason = "HTTP 401: authentication_failed Incorrect authentication credentials. " * 2
    monkeypatch.setattr(telemetry, "time", SimpleNamespace(monotonic=lambda: now[0]))

    for number in range(3 * 3600):
        now[0] = number / 3
        ids = {"shop_id": number % 200, "redemption_id": f"cr_{number:020}", "activity": "deliver"}
        log.error("vendor rejected the shop's configuration", vendor="Klaviyo", reason=reason, **ids)

    # Threads of other tests can log meanwhile.
    written = [line for line in lines.getvalue().splitlines() if json.loads(line)["logger"] == "test"]
    assert len(written) <= telemetry.SHOPS_SHOWN + 59 * REPEATS_SHOWN
    assert len("\n".join(written)) < 1_000_000
    assert json.loads(written[-1])["not_shown"] > 0


def test_a_kind_that_has_ended_is_shown_again(lines: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    log, now = structlog.stdlib.get_logger("test"), [0.0]
    monkeypatch.setattr(telemetry, "time", SimpleNamespace(monotonic=lambda: now[0]))

    for second in (0, 61, 600):
        now[0] = second
        for _ in range(10):
            log.warning("no answer")

    assert len(lines.getvalue().splitlines()) == REPEATS_SHOWN + 1 + REPEATS_SHOWN


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ApplicationError("Klaviyo: HTTP 503", type="Unknown"), "Unknown: Klaviyo: HTTP 503"),
        (asyncio.CancelledError("Activity cancelled"), "Activity cancelled"),
    ],
)
def test_an_expected_failure_is_one_line(lines: StringIO, error: BaseException, words: str) -> None:
    log = logging.getLogger("temporalio.activity")
    for attempt in range(100):
        log.warning("Completing activity as failed ({'attempt': %d})", attempt, exc_info=error)

    shown = lines.getvalue().splitlines()
    assert len(shown) == REPEATS_SHOWN
    assert f"Completing activity as failed: {words} ({{'attempt': 0}})" in shown[0]
    assert "Traceback" not in lines.getvalue()


def test_the_same_failure_with_other_figures_is_a_repetition(lines: StringIO) -> None:
    log = logging.getLogger("temporalio.activity")
    for vendor in ("Klaviyo", "Omnisend"):
        for seconds in range(100):
            try:
                raise ApplicationError(f"{vendor}: held for {seconds} s", type="NotExecuted")
            except ApplicationError:
                log.warning("Completing activity as failed ({'attempt': 1})", exc_info=True)

    assert len(lines.getvalue().splitlines()) == 2 * REPEATS_SHOWN


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_value_writes_a_line_or_controls_the_terminal(
    form: Literal["json", "text"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", written := StringIO())
    configure_logging("INFO", form)
    hostile = "ok\n2026-01-01T00:00:00Z [info] refund approved\r\x1b[2J\u2028\u202e"

    structlog.stdlib.get_logger("test").warning("vendor rejected", reason=hostile)
    logging.getLogger("library").warning("vendor said %s", hostile)

    lines = written.getvalue().splitlines()
    assert len(lines) == 2
    assert all("refund approved" in line and line.isprintable() for line in lines)


def test_a_bug_keeps_its_traceback(lines: StringIO) -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        structlog.stdlib.get_logger("test").exception("activity failed")

    assert "Traceback" in lines.getvalue()


def test_no_trace_is_made_unless_an_endpoint_is_configured() -> None:
    program = "import sys, api.app, worker; print([one for one in sys.modules if 'opentelemetry.sdk.trace' in one])"
    environment = {"ENCRYPTION_KEYS": Fernet.generate_key().decode(), "PATH": os.environ["PATH"]}
    output = subprocess.run([sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, check=True)

    assert output.stdout == b"[]\n"


def test_collections_do_not_visit_what_the_start_has_made() -> None:
    """In a process of its own: here, objects of other tests would be exempt for ever."""
    code = "import gc, telemetry; telemetry.exempt_startup_from_garbage_collection(); print(gc.get_freeze_count())"

    program = subprocess.run((sys.executable, "-c", code), cwd=ROOT, capture_output=True, text=True, check=True)

    assert int(program.stdout) > 1_000
