"""Temporal schedules of the deployment."""

from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
)

from workflows.expire_points import ExpirePoints
from workflows.reconcile_redemptions import ReconcileRedemptions

RECONCILE = "reconcile-redemptions"
EXPIRE = "expire-points"


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
