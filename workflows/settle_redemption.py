"""Settle a redemption whose run is gone: terminated, timed out, or lost with an engine's history.

not captured ──> release the points ──> void the code
captured     ──> deliver what is missing
"""

from temporalio import workflow

from activities.attempt import Attempt
from activities.discounts import Discounts
from activities.points import Points
from workflows.delivering import DeliversRedemption
from workflows.saga import take_back, to_the_end
from workflows.stages import Stage
from workflows.telling import PURCHASE


@workflow.defn
class SettleRedemption(DeliversRedemption):
    """What is left to do for one attempt. Safe beside a live run: the row decides, and every step may be repeated."""

    @workflow.init
    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt, PURCHASE, Stage.COMPENSATING)

    @workflow.run
    async def run(self, attempt: Attempt) -> str:
        """Compensate, or deliver; tells which."""
        return await to_the_end(self._settle(attempt))

    async def _settle(self, attempt: Attempt) -> str:
        journal = self._journal
        if await take_back(Points.reserve_points, attempt, undo=Points.release_points, journal=journal):
            await take_back(
                Discounts.generate_discount_code, attempt, undo=Discounts.void_discount_code, journal=journal
            )
            ending = "compensated"
        else:
            await self.deliver(again=attempt.again)
            ending = "delivered"
        journal.close()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return ending
