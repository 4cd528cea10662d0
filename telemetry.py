"""Logging and process exit. Logs contain ids, never API keys, e-mail addresses, phone numbers or discount codes."""

import logging
import os
import sys
from typing import Literal, NoReturn

import structlog


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


def exit_process(status: int) -> NoReturn:
    """Exit without finalizing the interpreter, which can abort in Temporal's SDK (temporalio/sdk-python issue 300)."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
