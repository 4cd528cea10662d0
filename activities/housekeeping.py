"""Steps of the reconciler: what is nobody's is found, what has had its time is pruned."""

from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import asdict
from datetime import datetime, timedelta

from temporalio import activity
from temporalio.client import Client

from activities.attempt import Attempt
from activities.runs import all_open, is_running, live_run, run_ids
from db import catalogue, housekeeping
from db.engine import Sessions
from db.housekeeping import Stranded
from domain.redemptions import settlement_id, workflow_id
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
            candidates = await housekeeping.unfinished(session, before=late, at_most=AT_A_TIME)
        return [one async for one in self._without_a_run(candidates, _runs_of_attempt)]

    @activity.defn
    async def find_stranded_refunds(self, _: None) -> list[Attempt]:
        """Captured attempts whose refund is not through, and has no run that would bring it there."""
        async with self._sessions() as session:
            late = await catalogue.now(session) - PATIENCE
            candidates = await housekeeping.unfinished_refunds(session, before=late, at_most=AT_A_TIME)
        return [one async for one in self._without_a_run(candidates, _runs_of_refund)]

    @activity.defn
    async def prune_idempotency_keys(self, _: None) -> int:
        """Forget keys that have had their time; returns how many."""
        async with self._sessions.begin() as session:
            return await housekeeping.prune_idempotency_keys(session)

    async def _without_a_run(
        self, candidates: list[Stranded], runs_of: Callable[[Stranded], Iterable[str]]
    ) -> AsyncGenerator[Attempt]:
        for one in candidates:
            if not any([await self._is_running(run) for run in runs_of(one)]):
                yield Attempt.model_validate(asdict(one))

    async def _is_running(self, run: str) -> bool:
        try:
            description = await self._temporal.get_workflow_handle(run).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return description.status is WorkflowExecutionStatus.RUNNING


def _runs_of_attempt(one: Stranded) -> Iterable[str]:
    return (workflow_id(one.redemption_id, one.number), settlement_id(one.redemption_id, one.number))


def _runs_of_refund(one: Stranded) -> Iterable[str]:
    return (refund_id(one.redemption_id),)
