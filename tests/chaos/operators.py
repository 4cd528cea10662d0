"""Operators: during the run they cancel and terminate what they should not; afterwards they mend."""

from datetime import timedelta

from sqlalchemy import select
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError

from database import Sessions
from db.tables import Delivery, Redemption
from domain.channels import Channel
from domain.redemptions import settlement_id, workflow_id
from domain.refunds import refund_id
from tests.chaos.dice import Clock, dice
from tests.chaos.records import Tally
from workflows.deliveries import DeliversRedemption

EVERY_SECONDS = 2.5
RUNS = "WorkflowType IN ('RedeemReward', 'SettleRedemption', 'RefundRedemption', 'ProcessWebhook')"
PATIENCE = timedelta(seconds=5)


class Operators:
    """People with access to the Temporal UI."""

    def __init__(self, temporal: Client, tally: Tally, *, seed: int) -> None:
        self._temporal = temporal
        self._tally = tally
        self._chance = dice(seed, "operators")

    async def run(self, clock: Clock) -> None:
        """Until the clock has run out."""
        while await clock.rest(self._chance.expovariate(1 / EVERY_SECONDS)):
            act, which = self._chance.choice(("cancel", "terminate")), self._chance.random()
            try:
                await self._act(act, which)
            except RPCError as error:
                self._tally.note(f"{act} came to nothing: {error.status.name}")

    async def open_runs(self) -> list[str]:
        """What is not closed yet, as far as the engine's search knows."""
        found = self._temporal.list_workflows(f"ExecutionStatus = 'Running' AND {RUNS}", rpc_timeout=PATIENCE)
        return [run.id async for run in found]

    async def retry_refused(self, store: Sessions) -> None:
        """What the runbook says about `NeedsAttention`: have the refused deliveries tried again."""
        refused = select(Delivery, Redemption.attempt).join(Redemption).where(Delivery.status == "failed")
        async with store() as session:
            found = [(row.redemption_id, row.channel, attempt) for row, attempt in await session.execute(refused)]
        for redemption_id, channel, attempt in found:
            for run in (
                workflow_id(redemption_id, attempt),
                settlement_id(redemption_id, attempt),
                refund_id(redemption_id),
            ):
                await self._retry(run, Channel(channel))

    async def _act(self, act: str, which: float) -> None:
        runs = sorted(await self.open_runs())
        if not runs:
            self._tally.note(f"nobody to {act}")
            return
        run = runs[int(which * len(runs))]
        handle = self._temporal.get_workflow_handle(run)
        if act == "cancel":
            await handle.cancel(rpc_timeout=PATIENCE)
        else:
            await handle.terminate(reason="chaos", rpc_timeout=PATIENCE)
        self._tally.acts[f"{act} {run.partition('-')[0]}"] += 1
        self._tally.note(f"{act} {run}")

    async def _retry(self, run: str, channel: Channel) -> None:
        """Whichever run it waits in; the others are closed, or never were."""
        handle = self._temporal.get_workflow_handle(run)
        try:
            await handle.execute_update(  # pyright: ignore[reportUnknownMemberType] - the SDK's own annotation
                DeliversRedemption.retry_deliveries, [channel], rpc_timeout=PATIENCE
            )
        except (RPCError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError):
            return
        self._tally.acts["retry_deliveries"] += 1
        self._tally.note(f"retry {channel} of {run}")
