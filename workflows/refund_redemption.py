"""Refund a redemption: the code is taken back, and then the points are given back.

remove discount code ──> refund points ──┃──> deliver, in parallel
(refused if it was used)                 ┃    Klaviyo · Omnisend · Postscript · Shopify metafields

Nothing is ever undone here: once begun it is tried until it is done, or until it is known that the code was used.
"""

from enum import StrEnum

from temporalio import workflow

from activities.attempt import Attempt
from activities.refunds import Refunds
from domain.events import EventKind
from workflows.delivering import DeliversRedemption
from workflows.saga import carry_out, to_the_end
from workflows.stages import Stage


class Ending(StrEnum):
    """How a refund comes out."""

    REFUNDED = "refunded"
    REFUSED = "refused"


@workflow.defn
class RefundRedemption(DeliversRedemption):
    """The refund of one captured attempt, whose wish is in the database. Safe to run twice: the row decides."""

    @workflow.init
    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt, EventKind.REWARD_REFUNDED, Stage.COMPENSATING)
        self._ending: Ending | None = None

    @workflow.run
    async def run(self, attempt: Attempt) -> Ending:
        """The whole story; a cancellation does not stop it half-way."""
        return await to_the_end(self._refund(attempt))

    async def _refund(self, attempt: Attempt) -> Ending:
        removed = await carry_out(Refunds.remove_discount_code, attempt, journal=self._journal)
        if removed and await carry_out(Refunds.refund_points, attempt, journal=self._journal):
            self._ending = Ending.REFUNDED
            await self.deliver()
        else:
            self._ending = Ending.REFUSED
        self._journal.close()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._ending

    @workflow.update
    async def answer(self) -> Ending:
        """What to tell the caller, as soon as it is decided: does not wait for deliveries."""
        await workflow.wait_condition(lambda: self._ending is not None)
        assert self._ending is not None
        return self._ending
