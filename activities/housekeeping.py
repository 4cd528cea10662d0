"""Steps of the reconciler: what is nobody's is found, what has had its time is pruned."""

from collections.abc import AsyncGenerator
from dataclasses import asdict
from datetime import timedelta

from temporalio import activity
from temporalio.client import Client

from activities.attempt import Attempt
from clients.temporal import open_workflows_query, find_open_workflow
from database import Sessions
from db import housekeeping, idempotency, transactions
from db.housekeeping import Stranded
from domain.events import EventKind
from domain.redemptions import attempt_of

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
        return await self._stranded(EventKind.REWARD_REDEEMED)

    @activity.defn
    async def find_stranded_refunds(self, _: None) -> list[Attempt]:
        """Captured attempts whose refund is not through, and has no run that would bring it there."""
        return await self._stranded(EventKind.REWARD_REFUNDED)

    @activity.defn
    async def wake_idle_runs(self, _: None) -> int:
        """Have runs look again that wait for an operator although nothing is left to tell; returns how many.

        A refund, an erasure or a shop that leaves has skipped it.
        """
        query = f"{open_workflows_query(activity.info().task_queue)} AND RedemptionStage = 'NeedsAttention'"
        waiting = {run.id: _news_of(run.id) async for run in self._temporal.list_workflows(query)}
        async with self._sessions() as session:
            untold = await housekeeping.untold(session, [redemption for redemption, _ in waiting.values()])
        idle = [run for run, news in waiting.items() if news not in untold]
        for run in idle:
            await self._temporal.get_workflow_handle(run).signal("look_again")
        return len(idle)

    @activity.defn
    async def prune_idempotency_keys(self, _: None) -> int:
        """Forget keys that have had their time; returns how many."""
        async with self._sessions.begin() as session:
            return await idempotency.prune_idempotency_keys(session)

    async def _stranded(self, event: EventKind) -> list[Attempt]:
        """The oldest of those that nobody works on.

        A vendor's outage leaves thousands that have a run and wait: so that they hide nobody who has none, the
        engine's search sorts them out, from the second page on. It lags a little; on the first page all are asked
        about.
        """
        async with self._sessions() as session:
            late = await transactions.now(session) - PATIENCE
        found: list[Attempt] = []
        open_runs: set[str] = set()
        async for page in housekeeping.unfinished(self._sessions, event, before=late, at_a_time=AT_A_TIME):
            found += [attempt async for attempt in self._without_a_run(page, open_runs)]
            if len(found) >= AT_A_TIME or len(page) < AT_A_TIME:
                break
            open_runs = open_runs or await self._open_runs()
        return found

    async def _open_runs(self) -> set[str]:
        return {run.id async for run in self._temporal.list_workflows(open_workflows_query(activity.info().task_queue))}

    async def _without_a_run(self, candidates: list[Stranded], open_runs: set[str]) -> AsyncGenerator[Attempt]:
        for one in candidates:
            if open_runs.isdisjoint(one.runs) and await find_open_workflow(self._temporal, one.runs) is None:
                yield Attempt.model_validate(asdict(one))


def _news_of(run: str) -> tuple[str, EventKind]:
    """The redemption, and what a run that waits for an operator has to tell of it."""
    about = attempt_of(run)
    assert about is not None, f"{run} tells nobody anything"
    redemption_id, attempt = about
    return redemption_id, EventKind.REWARD_REFUNDED if attempt is None else EventKind.REWARD_REDEEMED
