"""Steps of the reconciler: what is nobody's is found, what has had its time is pruned."""

from collections.abc import AsyncGenerator
from dataclasses import asdict
from datetime import timedelta

from temporalio import activity
from temporalio.client import Client

from activities.attempt import Attempt
from activities.runs import live_run
from db import catalogue, housekeeping
from db.engine import Sessions
from db.housekeeping import Stranded

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
        return [attempt async for attempt in self._without_a_run(candidates)]

    @activity.defn
    async def prune_idempotency_keys(self, _: None) -> int:
        """Forget keys that have had their time; returns how many."""
        async with self._sessions.begin() as session:
            return await housekeeping.prune_idempotency_keys(session)

    async def _without_a_run(self, candidates: list[Stranded]) -> AsyncGenerator[Attempt]:
        for one in candidates:
            if await live_run(self._temporal, one.redemption_id, one.number) is None:
                yield Attempt.model_validate(asdict(one))
