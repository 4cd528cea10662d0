"""Logs, and how a process ends. Lines carry ids; never keys, e-mail addresses, phone numbers or codes."""

import logging
import os
import sys
from typing import Literal, NoReturn

import structlog


def configure_logging(level: str, form: Literal["text", "json"]) -> None:
    """One line per event on standard error, from structlog and from every library's own logger."""
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
        # One form for all lines: what uvicorn has to say goes to the root's handler too.
        logging.getLogger(name).handlers, logging.getLogger(name).propagate = [], True
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # uvicorn's own access log prints paths, which can hold e-mail addresses; `api.access_log` prints routes.
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
    # httpx logs every address it calls at INFO; that is noise here, and an address can hold an identifier.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def leave(status: int) -> NoReturn:
    """End the process without tearing the interpreter down: Temporal's SDK can abort that (sdk-python issue 300)."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
