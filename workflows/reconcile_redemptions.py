"""Find redemptions that nobody is working on, and have each settled; then look for drift. Started every minute."""

from temporalio import workflow
from temporalio.exceptions import WorkflowAlreadyStartedError

from activities.drift import Drift
from activities.housekeeping import Housekeeping
from domain.redemptions import settlement_id
from workflows.saga import insist
from workflows.settle_redemption import SettleRedemption
from workflows.stages import Stage, searchable


@workflow.defn
class ReconcileRedemptions:
    """One round."""

    @workflow.run
    async def run(self) -> int:
        """Start a settlement for each stranded attempt; returns how many."""
        await insist(Housekeeping.prune_idempotency_keys, None, about="kept for 30 days")
        stranded = await insist(Housekeeping.find_stranded_attempts, None, about="without a live run")
        for attempt in stranded:
            try:
                await workflow.start_child_workflow(
                    SettleRedemption.run,
                    attempt,
                    id=settlement_id(attempt.redemption_id, attempt.number),
                    # The settlement lives on when this round is over.
                    parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                    static_summary=f"settle {attempt.redemption_id}, attempt {attempt.number}",
                    search_attributes=searchable(attempt, Stage.COMPENSATING),
                )
            except WorkflowAlreadyStartedError:
                continue
        await insist(Drift.check_codes, None, about="ledger and Shopify agree")
        return len(stranded)
