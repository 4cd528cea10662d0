"""Logging and process exit. Logs contain ids, never API keys, e-mail addresses, phone numbers or discount codes."""

import asyncio
import gc
import logging
import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Literal, NoReturn, cast

import structlog
from opentelemetry import trace
from temporalio.exceptions import FailureError
from temporalio.runtime import LogForwardingConfig, LoggingConfig, PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError

REPEATS_SHOWN = 5
SHOPS_SHOWN = 60
REPEATS_WITHIN_SECONDS = 60
_SHOP_NAMES = ("shop", "shop_id")

# After three missed heartbeats a worker counts as frozen or dead. The default is 60 s.
HEARTBEAT_EVERY = timedelta(seconds=5)


def configure_logging(level: str, form: Literal["text", "json"], *, traced: bool = False) -> None:
    """Write one line per event to standard error, for structlog and for standard library loggers.

    `traced`: with the id of the trace that the line belongs to.
    """
    renderer = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        *([_add_trace] if traced else []),
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
                # JSON escapes them itself.
                *([_escape] if form == "text" else []),
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


def _add_trace(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    context = trace.get_current_span().get_span_context()
    return {**line, "trace_id": trace.format_trace_id(context.trace_id)} if context.is_valid else line


def _escape(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Show line breaks and terminal control codes as text: a value can neither write lines nor move the cursor."""
    return {name: _printable(value, name) if isinstance(value, str) else value for name, value in line.items()}


def _printable(text: str, name: str) -> str:
    if text.isprintable():
        return text
    # A traceback has lines.
    kept = {"\n"} if name == "exception" else set[str]()
    return "".join(one if one.isprintable() or one in kept else one.encode("unicode_escape").decode() for one in text)


def _omit(record: logging.LogRecord) -> bool:
    """Drop what the server repeats of an exception that `api.errors` has logged."""
    return not (record.name == "uvicorn.error" and str(record.msg).startswith("Exception in ASGI application"))


# A vendor or Temporal that does not answer, an activity that took too long.
_EXPECTED = (FailureError, RPCError, asyncio.CancelledError)


def _shorten(record: logging.LogRecord) -> bool:
    """Replace the SDK's traceback of an expected failure by its message."""
    error = record.exc_info[1] if record.exc_info else None
    if record.name.startswith("temporalio") and isinstance(error, _EXPECTED):
        event = _event(record)
        details = record.getMessage().removeprefix(event)
        record.msg, record.args = f"{event}: {error}{details}", ()
        # Without the rest of the vendor's words, which can contain figures: `NotExecuted: Klaviyo`.
        record.kind = event, *str(error).split(": ")[:2]
        record.exc_info = record.exc_text = None
    return True


@dataclass
class _Window:
    """A minute. `limit`: number of lines that are written in it."""

    began: float
    limit: int
    seen: int = 0

    def admits(self, now: float, *, first: int, later: int) -> bool:
        """Whether to write one more line. `later`: limit of a minute that follows one with too many."""
        age = now - self.began
        if age >= REPEATS_WITHIN_SECONDS:
            repeats = self.seen > self.limit and age < 2 * REPEATS_WITHIN_SECONDS
            self.began, self.limit, self.seen = now, later if repeats else first, 0
        self.seen += 1
        return self.seen <= self.limit


class Repeats(logging.Filter):
    """Limits warnings and errors that repeat: those of one kind, and those that differ in the shop only.

    Some are written in the first minute, fewer in each that follows. The next one that is written says how many of its
    kind were `not_shown`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[object, ...], _Window] = {}
        self._not_shown: Counter[tuple[object, ...]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record."""
        if record.levelno < logging.WARNING:
            return True
        kind, now = _kind(record), time.monotonic()
        of_all_shops = kind[: -len(_SHOP_NAMES)]
        is_shown = self._admits(kind, now, first=REPEATS_SHOWN, later=1) and self._admits(
            of_all_shops, now, first=SHOPS_SHOWN, later=REPEATS_SHOWN
        )
        if not is_shown:
            self._not_shown[kind] += 1
        elif not_shown := self._not_shown.pop(kind, 0):
            _add(record, not_shown=not_shown)
        return is_shown

    def _admits(self, key: tuple[object, ...], now: float, *, first: int, later: int) -> bool:
        window = self._windows.setdefault(key, _Window(now, first))
        return window.admits(now, first=first, later=later)


def _kind(record: logging.LogRecord) -> tuple[object, ...]:
    """What lines of one kind have in common: not ids and figures, but the shop and the vendor."""
    own = cast("dict[str, Any]", record.msg) if isinstance(record.msg, dict) else {}
    values = {**structlog.contextvars.get_contextvars(), **own}
    error = type(record.exc_info[1]) if record.exc_info else None
    names = ("vendor", "kind", *_SHOP_NAMES)
    event = getattr(record, "kind", None) or _event(record)
    return record.name, event, error, *(values.get(name) for name in names)


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
def sdk_runtime(metrics_address: str | None = None) -> Runtime:
    """The SDK's runtime of this process. Its log lines become ours, instead of going to standard error as they are.

    `metrics_address`: where it serves its metrics, see `metrics.endpoint`. None: it has none.
    """
    forwarding = LogForwardingConfig(logger=logging.getLogger("temporalio"))
    prometheus = metrics_address and PrometheusConfig(
        bind_address=metrics_address, counters_total_suffix=True, unit_suffix=True, durations_as_seconds=True
    )
    telemetry = TelemetryConfig(
        logging=LoggingConfig(LoggingConfig.default.filter, forwarding), metrics=prometheus or None
    )
    return Runtime(telemetry=telemetry, worker_heartbeat_interval=HEARTBEAT_EVERY)


def exempt_startup_from_garbage_collection() -> None:
    """Call once a process has started.

    Otherwise collections visit what its start has made, and stop it for up to 0.2 s, every few seconds under load.
    """
    gc.collect()
    gc.freeze()


def exit_process(status: int) -> NoReturn:
    """Exit without finalizing the interpreter, which can abort in Temporal's SDK (temporalio/sdk-python issue 300)."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
