"""Redeem a reward: spend points on a discount code.

reserve points ──> generate discount code + capture ──┃──> deliver, in parallel
undo: release      undo: void the code                ┃    Klaviyo, Omnisend, Postscript, metafields, webhooks
                                                      ┃
          before the pivot: everything can be undone  ┃  after the pivot: only forward

A queued purchase is answered once the points are reserved, and waits for its turn before the second step.
"""

from datetime import datetime

from temporalio import workflow

from activities.attempt import Attempt
from activities.discounts import Discounts
from activities.points import Points
from domain.channels import Channel
from domain.eligibility import Refusal
from domain.events import EventKind
from domain.shopify_budget import NoTurn, Turn
from workflows.deliveries import DeliversEvent
from workflows.outcomes import PurchaseAnswer, PurchaseOutcome, not_reserved, unavailable
from workflows.progress import Stage
from workflows.saga import UNWIND, Saga, shielded


@workflow.defn
class RedeemReward(DeliversEvent):
    """One attempt at one redemption."""

    @workflow.init
    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt, EventKind.REWARD_REDEEMED, Stage.REDEEMING)
        self._answer: PurchaseAnswer | None = None
        self._is_queued = False
        self._saga = Saga(self._progress, deadline=attempt.deadline)

    @workflow.run
    async def run(self, attempt: Attempt) -> PurchaseAnswer:
        """Run the saga. Returns the answer that callers of the update got."""
        try:
            return await self._redeem(attempt)
        except UNWIND:
            if attempt.is_queued and Channel.WEBHOOKS in attempt.channels:
                await shielded(self.deliver_failure())
            raise

    async def _redeem(self, attempt: Attempt) -> PurchaseAnswer:
        async with self._saga as saga:
            reserved = await saga.step(Points.reserve_points, attempt, undo=Points.release_points, local=True)
            if isinstance(reserved, Refusal | NoTurn):
                self._progress.record_unreserved(reserved)
                return await self._finish(not_reserved(reserved))
            turn = self._begin_waiting(reserved) if isinstance(reserved, Turn) else None
            await saga.step(Discounts.generate_discount_code, attempt, undo=Discounts.void_discount_code, at=turn)

        # The pivot is passed: the points are spent and the customer has the code.
        self._answer = PurchaseAnswer(outcome=PurchaseOutcome.PURCHASED)
        await shielded(self.deliver())
        return await self._finish(self._answer)

    @workflow.update
    async def answer(self) -> PurchaseAnswer:
        """Wait for the outcome, but neither for deliveries nor for the fence."""
        await workflow.wait_condition(lambda: self._answer is not None or self._saga.is_released)
        return self._answer or unavailable(self._saga.failure)

    @workflow.update
    async def reservation(self) -> PurchaseAnswer:
        """Wait until a queued purchase has reserved its points, or for the outcome."""
        await workflow.wait_condition(lambda: self._is_queued or self._answer is not None or self._saga.is_released)
        if self._is_queued and self._answer is None and not self._saga.is_released:
            return PurchaseAnswer(outcome=PurchaseOutcome.QUEUED)
        return self._answer or unavailable(self._saga.failure)

    def _begin_waiting(self, turn: Turn) -> datetime:
        self._is_queued = True
        self._progress.wait_for(turn.at)
        return turn.at

    async def _finish(self, answer: PurchaseAnswer) -> PurchaseAnswer:
        self._answer = answer
        self._progress.finish()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return answer
