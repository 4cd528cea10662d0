"""Reissue a code whose order was cancelled or fully refunded.

retire the old code ──> create the new code + exchange ──┃──> deliver, in parallel
                        undo: void the new code          ┃    Klaviyo · Omnisend · Postscript · metafields · webhooks

Each step is retried until it is done. It is compensated only if the exchange is refused: another order has used the old
code, or the customer was erased.
"""

from temporalio import workflow

from activities.attempt import Attempt
from activities.reissues import Reissues
from domain.events import EventKind
from domain.reissues import ReissueOutcome
from workflows.deliveries import DeliversEvent
from workflows.progress import Stage, StepState
from workflows.saga import Step, insist, shielded


@workflow.defn
class ReissueReward(DeliversEvent):
    """The reissue of one redemption's code after one order. Its request is in the database. Safe to run twice."""

    @workflow.init
    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt, EventKind.REWARD_REISSUED, Stage.REISSUING)

    @workflow.run
    async def run(self, attempt: Attempt) -> ReissueOutcome:
        """Run the reissue to its end, whether or not the workflow is cancelled."""
        return await shielded(self._reissue(attempt))

    async def _reissue(self, attempt: Attempt) -> ReissueOutcome:
        await self._step(Reissues.retire_discount_code, attempt)
        if await self._step(Reissues.reissue_discount_code, attempt):
            outcome = ReissueOutcome.REISSUED
            await self.deliver(retry_failed=attempt.retry_channels)
        else:
            outcome = ReissueOutcome.REFUSED
            await insist(Reissues.void_reissued_code, attempt, summary=attempt.redemption_id, background=True)
        self._progress.finish()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return outcome

    async def _step(self, step: Step[Attempt, bool], attempt: Attempt) -> bool:
        self._progress.set_step(step.__name__, StepState.IN_PROGRESS)
        done = await insist(step, attempt, summary=attempt.redemption_id, background=True)
        self._progress.set_step(step.__name__, StepState.DONE if done else StepState.REJECTED)
        return done
