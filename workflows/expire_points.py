"""Expire points and discount codes, then update the metafields of the customers concerned. Started every hour."""

from temporalio import workflow

from activities.expiry import Expiry
from activities.metafields import Metafields
from workflows.saga import Step, insist

# After so many activities the workflow continues as new, to keep its history short.
ACTIVITIES_PER_RUN = 50


@workflow.defn
class ExpirePoints:
    """One sweep. Keeps no state: each step continues where an earlier run ended."""

    def __init__(self) -> None:
        self._activities_left = ACTIVITIES_PER_RUN

    @workflow.run
    async def run(self) -> None:
        """Repeat each step until nothing is due."""
        await self._repeat(Expiry.expire_points)
        await self._repeat(Expiry.expire_redemptions)
        await self._repeat(Metafields.sync_metafields)

    async def _repeat(self, step: Step[None, int]) -> None:
        while await insist(step, None, summary="what is due", background=True):
            self._activities_left -= 1
            if self._activities_left == 0:
                workflow.continue_as_new()
