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

from workflows.reconcile_redemptions import ReconcileRedemptions

RECONCILE = "reconcile-redemptions"
EVERY = timedelta(minutes=1)
# A round holds nothing that would be lost with it. One whose worker is gone must not hold up those after it.
AT_MOST = timedelta(minutes=10)


async def apply_schedules(client: Client, *, task_queue: str) -> list[str]:
    """Create the schedules, or bring them to what they are here; returns their ids. Safe to repeat."""
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            ReconcileRedemptions.run,
            id=RECONCILE,
            task_queue=task_queue,
            execution_timeout=AT_MOST,
            static_summary="settle what nobody works on, then look for drift",
            static_details="A round of the reconciler. What it does and why is in docs/failures.md.",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=EVERY)]),
        # A round that is late makes the ones it missed superfluous.
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=EVERY),
    )

    def as_here(_: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(schedule=schedule)

    try:
        await client.create_schedule(RECONCILE, schedule)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(RECONCILE).update(as_here)
    return [RECONCILE]
