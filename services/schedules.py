"""Temporal schedules of the deployment."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
)
from temporalio.service import RPCError, RPCStatusCode

from workflows.expire_points import ExpirePoints
from workflows.reconcile_redemptions import ReconcileRedemptions

RECONCILE = "reconcile-redemptions"
EXPIRE = "expire-points"

_MISSED_RUNS = 3


class ScheduleCondition(StrEnum):
    ALIVE = "alive"
    MISSING = "missing"
    PAUSED = "paused"
    LATE = "late"
    """Its last three runs were left out."""


@dataclass(frozen=True, kw_only=True)
class ScheduleState:
    """A schedule. The names are keys of `status --json`. `last_run`: when it last started a workflow. None: never."""

    id: str
    state: ScheduleCondition
    last_run: datetime | None = None


async def apply_schedules(client: Client, *, task_queue: str) -> list[str]:
    """Create or update the schedules. Returns their ids. Safe to repeat."""
    reconcile = ScheduleActionStartWorkflow(
        ReconcileRedemptions.run,
        id=RECONCILE,
        task_queue=task_queue,
        static_summary="recover orphaned redemptions, compare codes with Shopify",
        static_details="One reconciliation. Described in docs/failures.md.",
    )
    expire = ScheduleActionStartWorkflow(
        ExpirePoints.run,
        id=EXPIRE,
        task_queue=task_queue,
        static_summary="expire points and discount codes",
        static_details="One sweep. Described in docs/operations.md.",
    )
    await _apply(client, reconcile, every=timedelta(minutes=1), at_most=timedelta(minutes=10))
    await _apply(client, expire, every=timedelta(hours=1), at_most=timedelta(hours=6))
    return [RECONCILE, EXPIRE]


async def schedule_states(client: Client) -> Sequence[ScheduleState]:
    """Both schedules. Raises `RPCError`."""
    return await asyncio.gather(_state(client, RECONCILE), _state(client, EXPIRE))


async def _state(client: Client, schedule_id: str) -> ScheduleState:
    try:
        described = await client.get_schedule_handle(schedule_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return ScheduleState(id=schedule_id, state=ScheduleCondition.MISSING)
        raise
    last_run = described.info.recent_actions[-1].started_at if described.info.recent_actions else None
    if described.schedule.state.paused:
        return ScheduleState(id=schedule_id, state=ScheduleCondition.PAUSED, last_run=last_run)
    state = ScheduleCondition.LATE if _is_late(described) else ScheduleCondition.ALIVE
    return ScheduleState(id=schedule_id, state=state, last_run=last_run)


def _is_late(described: ScheduleDescription) -> bool:
    every = max((one.every for one in described.schedule.spec.intervals), default=timedelta())
    runs = [one.started_at for one in described.info.recent_actions]
    latest = max([described.info.last_updated_at or described.info.created_at, *runs])
    return latest < datetime.now(UTC) - _MISSED_RUNS * every


async def _apply(client: Client, action: ScheduleActionStartWorkflow, *, every: timedelta, at_most: timedelta) -> None:
    # These workflows keep no state. One without a worker must not block those that follow.
    action.execution_timeout = at_most
    schedule = Schedule(
        action=action,
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        # After an outage, one late run replaces all the missed ones.
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=every),
    )
    try:
        await client.create_schedule(action.id, schedule)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(action.id).update(lambda _: ScheduleUpdate(schedule=schedule))
