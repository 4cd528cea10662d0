"""Logging and process exit. Logs contain ids, never API keys, e-mail addresses, phone numbers or discount codes."""

import logging
import os
import re
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Literal, NoReturn, cast

import structlog
from temporalio.exceptions import FailureError
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError

REPEATS_SHOWN = 5
REPEATS_WITHIN_SECONDS = 60

# After three missed heartbeats a worker counts as frozen or dead. The default is 60 s.
HEARTBEAT_EVERY = timedelta(seconds=5)


def configure_logging(level: str, form: Literal["text", "json"]) -> None:
    """Write one line per event to standard error, for structlog and for standard library loggers."""
    renderer = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    handler.addFilter(_omit)
    handler.addFilter(_shorten)
    handler.addFilter(Repeats())
    for name in ("uvicorn", "uvicorn.error"):
        # The root logger's handler writes uvicorn's events too, in the same format.
        logging.getLogger(name).handlers, logging.getLogger(name).propagate = [], True
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # uvicorn's access log contains paths with e-mail addresses. `api.middleware` logs routes instead.
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
    # httpx logs every URL at INFO, and URLs can contain customer identifiers.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _omit(record: logging.LogRecord) -> bool:
    """Drop what the server repeats of an exception that `api.errors` has logged."""
    return not (record.name == "uvicorn.error" and str(record.msg).startswith("Exception in ASGI application"))


def _shorten(record: logging.LogRecord) -> bool:
    """Replace the SDK's traceback of an expected failure by its message: a vendor or Temporal that does not answer."""
    error = record.exc_info[1] if record.exc_info else None
    if record.name.startswith("temporalio") and isinstance(error, FailureError | RPCError):
        details = record.getMessage().removeprefix(_event(record))
        record.msg, record.args = f"{_event(record)}: {error}{details}", ()
        record.exc_info = record.exc_text = None
    return True


@dataclass
class _Window:
    began: float
    seen: int = 0


class Repeats(logging.Filter):
    """Limits warnings and errors that repeat.

    A few of each kind are written per minute. The next one after that minute says how many were `not_shown`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[object, ...], _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record."""
        if record.levelno < logging.WARNING:
            return True
        key, now = _kind(record), time.monotonic()
        window = self._windows.get(key)
        if window is None or now - window.began >= REPEATS_WITHIN_SECONDS:
            if window is not None and window.seen > REPEATS_SHOWN:
                _add(record, not_shown=window.seen - REPEATS_SHOWN)
            window = self._windows[key] = _Window(now)
        window.seen += 1
        return window.seen <= REPEATS_SHOWN


def _kind(record: logging.LogRecord) -> tuple[object, ...]:
    """What lines of one kind have in common: not ids and figures, but the shop and the vendor."""
    own = cast("dict[str, Any]", record.msg) if isinstance(record.msg, dict) else {}
    values = {**structlog.contextvars.get_contextvars(), **own}
    error = type(record.exc_info[1]) if record.exc_info else None
    names = ("vendor", "kind", "shop", "shop_id")
    return record.name, _event(record), error, *(values.get(name) for name in names)


def _event(record: logging.LogRecord) -> str:
    """The constant part of a message. The SDK appends details in braces."""
    if isinstance(record.msg, dict):
        return str(cast("dict[str, Any]", record.msg).get("event"))
    return re.split(r" \(?\{", str(record.msg), maxsplit=1)[0]


def _add(record: logging.LogRecord, *, not_shown: int) -> None:
    if isinstance(record.msg, dict):
        record.msg = cast("Any", {**record.msg, "not_shown": not_shown})
    else:
        record.msg, record.args = f"{record.getMessage()} (not_shown={not_shown})", ()


@cache
def sdk_runtime() -> Runtime:
    """The SDK's runtime of this process. Its log lines become ours, instead of going to standard error as they are."""
    forwarding = LogForwardingConfig(logger=logging.getLogger("temporalio"))
    telemetry = TelemetryConfig(logging=LoggingConfig(LoggingConfig.default.filter, forwarding))
    return Runtime(telemetry=telemetry, worker_heartbeat_interval=HEARTBEAT_EVERY)


def exit_process(status: int) -> NoReturn:
    """Exit without finalizing the interpreter, which can abort in Temporal's SDK (temporalio/sdk-python issue 300)."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
