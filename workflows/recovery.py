"""Recovery workflows: what is started for an orphaned redemption or refund, by the reconciler or an operator."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from temporalio import workflow
from temporalio.common import TypedSearchAttributes
from temporalio.exceptions import WorkflowAlreadyStartedError

from activities.attempt import Attempt
from activities.webhooks import ReceivedWebhook
from domain.events import EventKind
from domain.ids import refund_workflow_id, reissue_workflow_id, settlement_workflow_id
from workflows.current_details import refund_details, reissue_details, settlement_details
from workflows.progress import Stage, attempt_attributes, priority_of
from workflows.refund_redemption import RefundRedemption
from workflows.reissue_reward import ReissueReward
from workflows.settle_redemption import SettleRedemption


@dataclass(frozen=True, kw_only=True)
class RecoveryWorkflow:
    """A workflow to start. `run` is its run method; summary and details are for the Temporal UI."""

    id: str
    run: Callable[[Any, Attempt], Awaitable[object]]
    stage: Stage
    summary: str
    details: str


def recovery_workflow(attempt: Attempt, event: EventKind) -> RecoveryWorkflow:
    """The recovery workflow of an attempt, its refund or its reissue.

    A refund and a reissue only go forward, so they are simply started again. That is also how an order starts them.
    """
    if event is EventKind.REWARD_REFUNDED:
        return RecoveryWorkflow(
            id=refund_workflow_id(attempt.redemption_id),
            run=RefundRedemption.run,
            stage=Stage.REFUNDING,
            summary=f"refund {attempt.redemption_id}",
            details=refund_details(attempt),
        )
    if event is EventKind.REWARD_REISSUED:
        assert attempt.order_id is not None, "a reissue has its order"
        return RecoveryWorkflow(
            id=reissue_workflow_id(attempt.redemption_id, attempt.order_id),
            run=ReissueReward.run,
            stage=Stage.REISSUING,
            summary=f"reissue {attempt.redemption_id}",
            details=reissue_details(attempt),
        )
    return RecoveryWorkflow(
        id=settlement_workflow_id(attempt.redemption_id, attempt.number),
        run=SettleRedemption.run,
        stage=Stage.COMPENSATING,
        summary=f"settle {attempt.redemption_id}, attempt {attempt.number}",
        details=settlement_details(attempt),
    )


async def start_recovery(attempt: Attempt, event: EventKind) -> None:
    """Start the recovery workflow as a child, unless it is open."""
    recovery = recovery_workflow(attempt, event)
    attributes = attempt_attributes(attempt, recovery.stage)
    await start_child(
        recovery.run, attempt, recovery.id, attributes, summary=recovery.summary, details=recovery.details
    )


async def start_child(
    run: Any,
    request: Attempt | ReceivedWebhook,
    workflow_id: str,
    attributes: TypedSearchAttributes,
    *,
    summary: str,
    details: str | None = None,
) -> None:
    """Start a child workflow unless it is open, without waiting for it."""
    try:
        await workflow.start_child_workflow(
            run,
            request,
            id=workflow_id,
            # The child outlives the workflow that starts it.
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            static_summary=summary,
            static_details=details,
            search_attributes=attributes,
            priority=priority_of(request.shop_id, is_awaited=False),
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.info("workflow %s is already running", workflow_id)
