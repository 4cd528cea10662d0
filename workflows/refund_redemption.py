"""Refund a redemption: remove the discount code, then return the points.

remove discount code ──> refund points ──┃──> deliver, in parallel
(refused if it was used)                 ┃    Klaviyo · Omnisend · Postscript · Shopify metafields · webhooks

Nothing is compensated here: the refund is retried until it is done, or until the code is known to be used.
"""

from temporalio import workflow

from activities.attempt import Attempt
from activities.refunds import Refunds
from domain.events import EventKind
from workflows.deliveries import DeliversEvent
from workflows.outcomes import RefundOutcome
from workflows.progress import Stage, StepState
from workflows.saga import Step, insist, shielded


@workflow.defn
class RefundRedemption(DeliversEvent):
    """The refund of one captured attempt. Its refund request is in the database. Safe to run twice."""

    @workflow.init
    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt, EventKind.REWARD_REFUNDED, Stage.REFUNDING)
        self._outcome: RefundOutcome | None = None

    @workflow.run
    async def run(self, attempt: Attempt) -> RefundOutcome:
        """Run the refund to its end, whether or not the workflow is cancelled."""
        return await shielded(self._refund(attempt))

    async def _refund(self, attempt: Attempt) -> RefundOutcome:
        if await self._step(Refunds.remove_discount_code, attempt) and await self._step(Refunds.refund_points, attempt):
            self._outcome = RefundOutcome.REFUNDED
            await self.deliver(retry_failed=attempt.retry_channels)
        else:
            self._outcome = RefundOutcome.REFUSED
        self._progress.finish()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._outcome

    async def _step(self, step: Step[Attempt, bool], attempt: Attempt) -> bool:
        self._progress.set_step(step.__name__, StepState.IN_PROGRESS)
        done = await insist(step, attempt, summary=attempt.redemption_id)
        self._progress.set_step(step.__name__, StepState.DONE if done else StepState.REJECTED)
        return done

    @workflow.update
    async def answer(self) -> RefundOutcome:
        """Wait for the outcome, but not for deliveries."""
        await workflow.wait_condition(lambda: self._outcome is not None)
        assert self._outcome is not None
        return self._outcome
