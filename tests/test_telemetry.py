"""What is logged, and how often."""

import logging
from io import StringIO

import pytest
import structlog
from temporalio.exceptions import ApplicationError

import telemetry
from telemetry import REPEATS_SHOWN, configure_logging


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


def test_an_expected_failure_is_one_line(lines: StringIO) -> None:
    log = logging.getLogger("temporalio.activity")
    try:
        raise ApplicationError("klaviyo: HTTP 503")
    except ApplicationError:
        for attempt in range(100):
            log.warning("Completing activity as failed ({'attempt': %d})", attempt, exc_info=True)

    shown = lines.getvalue().splitlines()
    assert len(shown) == REPEATS_SHOWN
    assert "Completing activity as failed: klaviyo: HTTP 503 ({'attempt': 0})" in shown[0]
    assert "Traceback" not in lines.getvalue()


def test_a_bug_keeps_its_traceback(lines: StringIO) -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        structlog.stdlib.get_logger("test").exception("activity failed")

    assert "Traceback" in lines.getvalue()
