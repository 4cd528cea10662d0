"""Find redemptions that nobody is working on, and have each settled; then look for drift. Started every minute."""

from temporalio import workflow
from temporalio.exceptions import ActivityError, WorkflowAlreadyStartedError

from activities.attempt import Attempt
from activities.drift import Drift
from activities.housekeeping import Housekeeping
from domain.redemptions import settlement_id
from workflows.saga import INSIST_TIMEOUT, Step, insist
from workflows.settle_redemption import SettleRedemption
from workflows.stages import Stage, searchable


@workflow.defn
class ReconcileRedemptions:
    """One round."""

    @workflow.run
    async def run(self) -> int:
        """Start a settlement for each stranded attempt; returns how many."""
        stranded = await insist(Housekeeping.find_stranded_attempts, None, about="without a live run")
        for attempt in stranded:
            await _settle(attempt)
        await _try_to(Drift.check_codes)
        await _try_to(Housekeeping.prune_idempotency_keys)
        return len(stranded)


async def _settle(attempt: Attempt) -> None:
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
        workflow.logger.info("a settlement is under way already")


async def _try_to(step: Step[None, int]) -> None:
    """What can as well be done in the next round must not keep this one, and the settlements after it, waiting."""
    try:
        await workflow.execute_activity_method(
            step, None, activity_id=step.__name__, schedule_to_close_timeout=INSIST_TIMEOUT
        )
    except ActivityError as error:
        workflow.logger.warning("left to the next round: %s", error.cause)
