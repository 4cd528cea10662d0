"""Steps of the reconciler: what is nobody's is found, what has had its time is pruned."""

from collections.abc import AsyncGenerator
from dataclasses import asdict
from datetime import datetime, timedelta

from temporalio import activity
from temporalio.client import Client

from activities.attempt import Attempt
from activities.runs import all_open, is_running, live_run, run_ids
from db import catalogue, housekeeping
from db.engine import Sessions
from db.housekeeping import Stranded
from domain.refunds import refund_id

# Longer than a run that lives takes to say so, short enough for a customer who waits for points.
PATIENCE = timedelta(seconds=20)
AT_A_TIME = 200


class Housekeeping:
    """Finds and prunes."""

    def __init__(self, sessions: Sessions, temporal: Client) -> None:
        self._sessions = sessions
        self._temporal = temporal

    @activity.defn
    async def find_stranded_attempts(self, _: None) -> list[Attempt]:
        """Attempts that are not where they should end, and have no run that would bring them there."""
        async with self._sessions() as session:
            late = await catalogue.now(session) - PATIENCE
        stranded: list[Attempt] = []
        async for page in self._unfinished(late):
            stranded += [attempt async for attempt in self._without_a_run(page)]
            if len(stranded) >= AT_A_TIME:
                break
        return stranded

    @activity.defn
    async def find_stranded_refunds(self, _: None) -> list[Attempt]:
        """Captured attempts whose refund is not through, and has no run that would bring it there."""
        async with self._sessions() as session:
            late = await catalogue.now(session) - PATIENCE
            candidates = await housekeeping.unfinished_refunds(session, before=late, at_most=AT_A_TIME)
        return [
            Attempt.model_validate(asdict(one))
            for one in candidates
            if not await is_running(self._temporal, refund_id(one.redemption_id))
        ]

    @activity.defn
    async def prune_idempotency_keys(self, _: None) -> int:
        """Forget keys that have had their time; returns how many."""
        async with self._sessions.begin() as session:
            return await housekeeping.prune_idempotency_keys(session)

    async def _unfinished(self, before: datetime) -> AsyncGenerator[list[Stranded]]:
        """Page by page, the oldest first.

        A vendor's outage leaves thousands that have a run and wait: so that they hide nobody who has none, the
        engine's search sorts them out, from the second page on. It lags a little; on the first page all are asked
        about.
        """
        open_runs: set[str] = set()
        last: Stranded | None = None
        while True:
            async with self._sessions() as session:
                page = await housekeeping.unfinished(session, before=before, at_most=AT_A_TIME, after=last)
            yield [one for one in page if not open_runs.intersection(run_ids(one.redemption_id, one.number))]
            if len(page) < AT_A_TIME:
                return
            open_runs = open_runs or await self._open_runs()
            last = page[-1]

    async def _open_runs(self) -> set[str]:
        return {run.id async for run in self._temporal.list_workflows(all_open(activity.info().task_queue))}

    async def _without_a_run(self, candidates: list[Stranded]) -> AsyncGenerator[Attempt]:
        for one in candidates:
            if await live_run(self._temporal, one.redemption_id, one.number) is None:
                yield Attempt.model_validate(asdict(one))
