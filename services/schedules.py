"""What runs by the clock."""

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
    ScheduleUpdateInput,
)

from workflows.expire_points import ExpirePoints
from workflows.reconcile_redemptions import ReconcileRedemptions

RECONCILE = "reconcile-redemptions"
EXPIRE = "expire-points"


async def apply_schedules(client: Client, *, task_queue: str) -> list[str]:
    """Create the schedules, or bring them to what they are here; returns their ids. Safe to repeat."""
    reconcile = ScheduleActionStartWorkflow(
        ReconcileRedemptions.run,
        id=RECONCILE,
        task_queue=task_queue,
        static_summary="settle what nobody works on, then look for drift",
        static_details="A round of the reconciler. What it does and why is in docs/failures.md.",
    )
    expire = ScheduleActionStartWorkflow(
        ExpirePoints.run,
        id=EXPIRE,
        task_queue=task_queue,
        static_summary="close points and codes that have had their time",
        static_details="A round of the expiry. What it does and why is in docs/operations.md.",
    )
    await _apply(client, reconcile, every=timedelta(minutes=1), at_most=timedelta(minutes=10))
    await _apply(client, expire, every=timedelta(hours=1), at_most=timedelta(hours=6))
    return [RECONCILE, EXPIRE]


async def _apply(client: Client, action: ScheduleActionStartWorkflow, *, every: timedelta, at_most: timedelta) -> None:
    # A round holds nothing that would be lost with it. One whose worker is gone must not hold up those after it.
    action.execution_timeout = at_most
    schedule = Schedule(
        action=action,
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        # A round that is late makes the ones it missed superfluous.
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=every),
    )

    def as_here(_: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(schedule=schedule)

    try:
        await client.create_schedule(action.id, schedule)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(action.id).update(as_here)
