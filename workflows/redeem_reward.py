"""Redeem a reward: points for a discount code.

reserve points ──> generate discount code + capture ──┃──> deliver, in parallel
undo: release      undo: void the code                ┃    Klaviyo · Omnisend · Postscript · Shopify metafields
                                                      ┃
          before the pivot everything can be undone   ┃    after it: only ever forward
"""

from temporalio import workflow

from activities.attempt import Attempt
from activities.discounts import Discounts
from activities.points import Points
from workflows.answers import Answer, Outcome, unavailable
from workflows.delivering import DeliversRedemption
from workflows.saga import Saga, to_the_end
from workflows.stages import Stage
from workflows.telling import PURCHASE


@workflow.defn
class RedeemReward(DeliversRedemption):
    """One attempt at one redemption."""

    @workflow.init
    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt, PURCHASE, Stage.REDEEMING)
        self._answer: Answer | None = None
        self._saga = Saga(self._journal, deadline=attempt.deadline)

    @workflow.run
    async def run(self, attempt: Attempt) -> Answer:
        """The whole story; the result is what the caller was told."""
        async with self._saga as saga:
            refusal = await saga.step(Points.reserve_points, attempt, undo=Points.release_points)
            if refusal is not None:
                return await self._close(Answer(outcome=Outcome.REFUSED, refusal=refusal))
            await saga.step(Discounts.generate_discount_code, attempt, undo=Discounts.void_discount_code)

        # The pivot is passed: the points are spent and the code is the customer's.
        self._answer = Answer(outcome=Outcome.PURCHASED)
        await to_the_end(self.deliver())
        return await self._close(self._answer)

    @workflow.update
    async def answer(self) -> Answer:
        """What to tell the caller, as soon as it is decided: waits neither for deliveries nor for the fence."""
        await workflow.wait_condition(lambda: self._answer is not None or self._saga.given_up)
        return self._answer or unavailable(self._saga.failure)

    async def _close(self, answer: Answer) -> Answer:
        self._answer = answer
        self._journal.close(answer.refusal)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return answer
