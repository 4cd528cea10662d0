"""Recovery workflows: what is started for an orphaned redemption or refund, by the reconciler or an operator."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from activities.attempt import Attempt
from domain.events import EventKind
from domain.ids import refund_workflow_id, settlement_workflow_id
from workflows.current_details import refund_details, settlement_details
from workflows.progress import Stage
from workflows.refund_redemption import RefundRedemption
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
    """The recovery workflow of an attempt or its refund. A refund only goes forward, so it is simply started again."""
    if event is EventKind.REWARD_REFUNDED:
        return RecoveryWorkflow(
            id=refund_workflow_id(attempt.redemption_id),
            run=RefundRedemption.run,
            stage=Stage.REFUNDING,
            summary=f"refund {attempt.redemption_id}",
            details=refund_details(attempt),
        )
    return RecoveryWorkflow(
        id=settlement_workflow_id(attempt.redemption_id, attempt.number),
        run=SettleRedemption.run,
        stage=Stage.COMPENSATING,
        summary=f"settle {attempt.redemption_id}, attempt {attempt.number}",
        details=settlement_details(attempt),
    )
