"""Close what has had its time: expired points, codes nobody used; then tell shops' themes. Started every hour."""

from temporalio import workflow

from activities.expiry import Expiry
from activities.metafields import Metafields
from workflows.saga import Step, insist

# After so many steps a run hands over to a fresh one, whose history is short again.
STEPS = 50


@workflow.defn
class ExpirePoints:
    """One round. Remembers nothing: each step finds what is left, wherever the one before it ended."""

    def __init__(self) -> None:
        self._left = STEPS

    @workflow.run
    async def run(self) -> None:
        """Repeat each step until it finds nothing more to do."""
        await self._exhaust(Expiry.expire_points)
        await self._exhaust(Expiry.expire_redemptions)
        await self._exhaust(Metafields.sync_metafields)

    async def _exhaust(self, step: Step[None, int]) -> None:
        while await insist(step, None, about="what is due"):
            self._left -= 1
            if self._left == 0:
                workflow.continue_as_new()
