"""Find redemptions, refunds and webhooks that nobody is working on, and have each seen to; then look for drift.

Started every minute.
"""

from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import TypedSearchAttributes
from temporalio.exceptions import ActivityError, WorkflowAlreadyStartedError

from activities.attempt import Attempt
from activities.drift import Drift
from activities.housekeeping import Housekeeping
from activities.webhooks import ReceivedWebhook, Webhooks
from domain.redemptions import settlement_id, webhook_run_id
from domain.refunds import refund_id
from workflows.process_webhook import ProcessWebhook
from workflows.refund_redemption import RefundRedemption
from workflows.saga import INSIST_TIMEOUT, Step, insist
from workflows.settle_redemption import SettleRedemption
from workflows.stages import Stage, of_shop, searchable

Result = TypeVar("Result")


@workflow.defn
class ReconcileRedemptions:
    """One round."""

    @workflow.run
    async def run(self) -> int:
        """Start a settlement for each stranded attempt, and each stranded refund again; returns how many."""
        attempts = await insist(Housekeeping.find_stranded_attempts, None, about="without a live run")
        for attempt in attempts:
            await _settle(attempt)
        refunds = await insist(Housekeeping.find_stranded_refunds, None, about="without a live run")
        for attempt in refunds:
            await _refund(attempt)
        for webhook in await _try_to(Webhooks.find_waiting_webhooks) or []:
            await _process(webhook)
        await _try_to(Drift.check_codes)
        await _try_to(Housekeeping.prune_idempotency_keys)
        await _try_to(Webhooks.prune_webhooks)
        return len(attempts) + len(refunds)


async def _settle(attempt: Attempt) -> None:
    run_id = settlement_id(attempt.redemption_id, attempt.number)
    summary = f"settle {attempt.redemption_id}, attempt {attempt.number}"
    await _start(SettleRedemption.run, attempt, run_id, summary, searchable(attempt, Stage.COMPENSATING))


async def _refund(attempt: Attempt) -> None:
    run_id, found_by = refund_id(attempt.redemption_id), searchable(attempt, Stage.COMPENSATING)
    await _start(RefundRedemption.run, attempt, run_id, f"refund {attempt.redemption_id}", found_by)


async def _process(webhook: ReceivedWebhook) -> None:
    run_id = webhook_run_id(webhook.shop_domain, webhook.webhook_id)
    await _start(ProcessWebhook.run, webhook, run_id, webhook.topic, of_shop(webhook.shop_domain))


async def _start(run: Any, about: Any, run_id: str, summary: str, found_by: TypedSearchAttributes) -> None:
    try:
        await workflow.start_child_workflow(
            run,
            about,
            id=run_id,
            # It lives on when this round is over.
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            static_summary=summary,
            search_attributes=found_by,
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.info("%s is under way already", run_id)


async def _try_to(step: Step[None, Result]) -> Result | None:
    """What can as well be done in the next round must not keep this one, and the settlements after it, waiting."""
    try:
        return await workflow.execute_activity_method(
            step, None, activity_id=step.__name__, schedule_to_close_timeout=INSIST_TIMEOUT
        )
    except ActivityError as error:
        workflow.logger.warning("left to the next round: %s", error.cause)
        return None
