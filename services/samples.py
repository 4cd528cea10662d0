"""Samples of database and Temporal for the metrics of the API, which has them also while no worker runs."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

import structlog
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError

import metrics
from activities.reconciliation import ORPHANED_AFTER
from database import Sessions
from db.audit import INVARIANTS, count_violations
from db.unfinished import count_unfinished
from services.health import queue_states
from services.workers import Dispatch, backlog

SAMPLED_EVERY = timedelta(seconds=15)

# What takes longer, `pointsaga stuck` lists, too.
OVERDUE_AFTER = timedelta(minutes=2)

# A check of the whole ledger takes at most this share of the time, so it is made less often as the ledger grows.
CHECKING_SHARE = 0.02
CHECKED_EVERY = timedelta(minutes=1)
CHECK_TIMEOUT = timedelta(minutes=10)

log = structlog.stdlib.get_logger("samples")


class Unanswered(Exception):
    """Temporal did not answer."""


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Samples into gauges, each kind at its own pace. One that fails keeps its values and its time."""

    store: Sessions
    temporal: Client
    task_queue: str

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Sample until the block ends."""
        loops = (
            _repeat("redemptions", self.sample_redemptions),
            _repeat("queues", self.sample_queues),
            _repeat("invariants_recent", lambda: self.check_invariants("recent")),
            _repeat("invariants_all", lambda: self.check_invariants("all"), share=CHECKING_SHARE, every=CHECKED_EVERY),
        )
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def sample_redemptions(self) -> None:
        """What is unfinished, by kind."""
        async with self.store() as session:
            counts = await count_unfinished(session, decided_within=ORPHANED_AFTER, done_within=OVERDUE_AFTER)
        by_kind = {one.kind: one for one in counts}
        for kind in metrics.KINDS:
            one = by_kind.get(kind)
            metrics.OPEN_REDEMPTIONS.labels(kind).set(one.number if one else 0)
            metrics.STUCK_REDEMPTIONS.labels(kind).set(one.overdue if one else 0)
            metrics.OLDEST_SECONDS.labels(kind).set(one.oldest.total_seconds() if one else 0)

    async def sample_queues(self) -> None:
        """Workers and waiting tasks of each task queue. Raises `Unanswered`."""
        states = await queue_states(self.temporal, self.task_queue)
        for name, state in zip(metrics.QUEUES, states, strict=True):
            if state.dispatch is Dispatch.UNKNOWN:
                raise Unanswered
            answering = sum(not one.silent for one in state.workers) if state.dispatch is Dispatch.OK else 0
            metrics.WORKERS.labels(name).set(answering)
            metrics.BACKLOG.labels(name).set(await backlog(self.temporal, state.name))

    async def check_invariants(self, scope: str) -> None:
        """Count the violations of each invariant. `scope`: `all`, or `recent` for customers with recent entries."""
        began = time.monotonic()
        for invariant in INVARIANTS:
            async with self.store.snapshot() as session:
                number = await count_violations(session, invariant, of_recent=scope == "recent")
            metrics.VIOLATIONS.labels(invariant, scope).set(number)
        metrics.INVARIANTS_SECONDS.labels(scope).set(time.monotonic() - began)


async def _repeat(
    sample: str, take: Callable[[], Awaitable[None]], *, every: timedelta = SAMPLED_EVERY, share: float = 1
) -> NoReturn:
    """Take a sample for ever. `share`: of the time, at most so much goes to it."""
    while True:
        began = time.monotonic()
        try:
            await take()
        except (SQLAlchemyError, OSError, RPCError, RuntimeError, TimeoutError, Unanswered) as error:
            log.warning("sample failed", sample=sample, kind=type(error).__name__)
        else:
            metrics.SAMPLED_AT.labels(sample).set_to_current_time()
        took = time.monotonic() - began
        await asyncio.sleep(max(every.total_seconds() - took, took / share - took))
