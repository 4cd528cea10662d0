"""The product's worker with hooks at its boundaries, and the sandbox, as processes forked from a warm server."""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

import worker
from local_stack.options import process_environment
from sandbox.__main__ import serve
from settings import Settings
from tests.crash.boundaries import Boundaries

# Imported once by the fork server: starting a hundred interpreters would take longer than all their work.
PRELOADED = [
    *(__name__, "asyncpg", "httpcore", "pytest", "temporalio.bridge.worker", "uvicorn.protocols.http.h11_impl"),
    "tests.crash.preloaded",
]


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Settings of the worker, its file of reached boundaries, its log, and the boundary at which it dies."""

    env: Mapping[str, str]
    record: Path
    log: Path
    die_at: str | None


def start_worker(options: WorkerOptions) -> ForkServerProcess:
    return _start(_run_worker, options)


def start_sandbox(port: int, log: Path) -> ForkServerProcess:
    return _start(_run_sandbox, port, log)


def _start(target: Callable[..., None], *args: Any) -> ForkServerProcess:
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def _run_worker(options: WorkerOptions) -> None:
    _detach(options.log)
    environment = process_environment(options.env)
    os.environ.clear()
    os.environ.update(environment)
    boundaries = Boundaries(options.record, die_at=options.die_at)
    boundaries.hook_commits()
    build = worker.build_workers

    def build_hooked(client: Client, settings: Settings, *pools: worker.Pools) -> tuple[Worker, Worker]:
        for one in pools:
            boundaries.hook_calls(one.http)
        return build(boundaries.hook_activities(client), settings, *pools)

    worker.build_workers = build_hooked
    worker.main()


def _run_sandbox(port: int, log: Path) -> None:
    _detach(log)
    serve(port=port)


def _detach(log: Path) -> None:
    """Write to an own log, and end with the process that started this one."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
