"""Refund a redemption: the code is taken back, and then the points are given back.

remove discount code ──> refund points ──┃──> deliver, in parallel
(refused if it was used)                 ┃    Klaviyo · Omnisend · Postscript · Shopify metafields

Nothing is ever undone here: once begun it is tried until it is done, or until it is known that the code was used.
"""

from enum import StrEnum

from temporalio import workflow

from activities.attempt import Attempt
from activities.refunds import Refunds
from workflows.delivering import DeliversRedemption
from workflows.saga import Step, insist, to_the_end
from workflows.stages import Stage
from workflows.telling import State
from workflows.telling_refunds import REFUND


class Ending(StrEnum):
    """How a refund comes out."""

    REFUNDED = "refunded"
    REFUSED = "refused"


@workflow.defn
class RefundRedemption(DeliversRedemption):
    """The refund of one captured attempt, whose wish is in the database. Safe to run twice: the row decides."""

    @workflow.init
    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt, REFUND, Stage.COMPENSATING)
        self._ending: Ending | None = None

    @workflow.run
    async def run(self, attempt: Attempt) -> Ending:
        """The whole story; a cancellation does not stop it half-way."""
        return await to_the_end(self._refund(attempt))

    async def _refund(self, attempt: Attempt) -> Ending:
        if await self._step(Refunds.remove_discount_code, attempt) and await self._step(Refunds.refund_points, attempt):
            self._ending = Ending.REFUNDED
            await self.deliver(again=attempt.again)
        else:
            self._ending = Ending.REFUSED
        self._journal.close()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._ending

    async def _step(self, step: Step[Attempt, bool], attempt: Attempt) -> bool:
        self._journal.note(step.__name__, State.UNDER_WAY)
        done = await insist(step, attempt, about=self._journal.about)
        self._journal.note(step.__name__, State.DONE if done else State.REFUSED)
        return done

    @workflow.update
    async def answer(self) -> Ending:
        """What to tell the caller, as soon as it is decided: does not wait for deliveries."""
        await workflow.wait_condition(lambda: self._ending is not None)
        assert self._ending is not None
        return self._ending
