"""Settle a redemption after its workflow was terminated, timed out, or lost with Temporal's data.

not captured ──> release the points ──> void the code
captured     ──> deliver what is unsent
"""

from temporalio import workflow

from activities.attempt import Attempt, Failure
from activities.discounts import Discounts
from activities.points import Points
from domain.events import EventKind
from domain.failures import FailureCode
from workflows.deliveries import DeliversEvent
from workflows.progress import Stage
from workflows.saga import compensate, shielded


@workflow.defn
class SettleRedemption(DeliversEvent):
    """Recovery workflow of one attempt. Safe beside an open workflow of the attempt, as every step may be repeated."""

    @workflow.init
    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt, EventKind.REWARD_REDEEMED, Stage.COMPENSATING)
        reason = "the workflow was terminated, timed out or lost"
        self._progress.failure = Failure(code=FailureCode.WORKFLOW_GONE, reason=reason)

    @workflow.run
    async def run(self, attempt: Attempt) -> str:
        """Compensate or deliver. Returns which of the two."""
        return await shielded(self._settle(attempt))

    async def _settle(self, attempt: Attempt) -> str:
        progress = self._progress
        if await compensate(Points.reserve_points, attempt, undo=Points.release_points, progress=progress):
            code, void = Discounts.generate_discount_code, Discounts.void_discount_code
            await compensate(code, attempt, undo=void, progress=progress)
            if attempt.is_queued:
                await self.deliver_failure(retry_failed=attempt.retry_channels)
            outcome = "compensated"
        else:
            await self.deliver(retry_failed=attempt.retry_channels)
            outcome = "delivered"
        self._progress.finish()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return outcome
