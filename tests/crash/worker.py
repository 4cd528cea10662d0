"""The product's worker, watched at its boundaries, in a process that is forked from one that has imported it all."""

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import httpx
from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker._worker import load_default_build_id

import worker
from database import Sessions
from local_stack.options import process_environment
from sandbox.__main__ import serve
from settings import Settings
from tests.crash.boundaries import Boundaries

# Starting a hundred workers anew would take more of the processor than all that they do.
IMPORTED_LATE = ["asyncpg", "httpcore", "pytest", "temporalio.bridge.worker", "uvicorn.protocols.http.h11_impl"]
load_default_build_id()


@dataclass(frozen=True, kw_only=True)
class Orders:
    """Where the worker works, what it notes where, and at which boundary it dies."""

    env: Mapping[str, str]
    notes: Path
    output: Path
    deadly: str | None


def start_worker(orders: Orders) -> ForkServerProcess:
    """A worker that follows orders."""
    return _started(_context().Process(target=_work, args=(orders,), daemon=True))


def start_sandbox(port: int, output: Path) -> ForkServerProcess:
    """Vendors that nobody else deals with."""
    return _started(_context().Process(target=_play, args=(port, output), daemon=True))


def _context() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, *IMPORTED_LATE])
    return context


def _started(process: ForkServerProcess) -> ForkServerProcess:
    process.start()
    return process


def _work(orders: Orders) -> None:
    _become_a_program(orders.output)
    settings = process_environment(orders.env)
    os.environ.clear()
    os.environ.update(settings)
    boundaries = Boundaries(orders.notes, deadly=orders.deadly)
    boundaries.watch_commits()
    build = worker.build_worker

    def build_watched(client: Client, settings: Settings, store: Sessions, http: httpx.AsyncClient) -> Worker:
        boundaries.watch_calls(http)
        return build(boundaries.watch_steps(client), settings, store, http)

    worker.build_worker = build_watched
    worker.main()


def _play(port: int, output: Path) -> None:
    _become_a_program(output)
    serve(port=port)


def _become_a_program(output: Path) -> None:
    """With a log of its own, and no longer alive than whoever started it."""
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    threading.Thread(target=_follow_the_parent, daemon=True).start()


def _follow_the_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
