"""Redeem a reward: spend points on a discount code.

reserve points ──> generate discount code + capture ──┃──> deliver, in parallel
undo: release      undo: void the code                ┃    Klaviyo, Omnisend, Postscript, metafields, webhooks
                                                      ┃
          before the pivot: everything can be undone  ┃  after the pivot: only forward
"""

from temporalio import workflow

from activities.attempt import Attempt
from activities.discounts import Discounts
from activities.points import Points
from domain.events import EventKind
from workflows.deliveries import DeliversEvent
from workflows.outcomes import PurchaseAnswer, PurchaseOutcome, not_reserved, unavailable
from workflows.progress import Stage
from workflows.saga import Saga, shielded


@workflow.defn
class RedeemReward(DeliversEvent):
    """One attempt at one redemption."""

    @workflow.init
    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt, EventKind.REWARD_REDEEMED, Stage.REDEEMING)
        self._answer: PurchaseAnswer | None = None
        self._saga = Saga(self._progress, deadline=attempt.deadline)

    @workflow.run
    async def run(self, attempt: Attempt) -> PurchaseAnswer:
        """Run the saga. Returns the answer that callers of the update got."""
        async with self._saga as saga:
            unreserved = await saga.step(Points.reserve_points, attempt, undo=Points.release_points, local=True)
            if unreserved is not None:
                self._progress.record_unreserved(unreserved)
                return await self._finish(not_reserved(unreserved))
            await saga.step(Discounts.generate_discount_code, attempt, undo=Discounts.void_discount_code)

        # The pivot is passed: the points are spent and the customer has the code.
        self._answer = PurchaseAnswer(outcome=PurchaseOutcome.PURCHASED)
        await shielded(self.deliver())
        return await self._finish(self._answer)

    @workflow.update
    async def answer(self) -> PurchaseAnswer:
        """Wait for the outcome, but neither for deliveries nor for the fence."""
        await workflow.wait_condition(lambda: self._answer is not None or self._saga.is_released)
        return self._answer or unavailable(self._saga.failure)

    async def _finish(self, answer: PurchaseAnswer) -> PurchaseAnswer:
        self._answer = answer
        self._progress.finish()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return answer
