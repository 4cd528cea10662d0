"""Workflows of a redemption, as its receipt shows them."""

from collections.abc import Sequence

from pydantic import BaseModel
from temporalio.api.failure.v1 import Failure
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.converter import DataConverter
from temporalio.exceptions import FailureError

from clients.sealed_payloads import UnreadablePayload
from clients.temporal import describe_workflow, status_label
from domain.ids import attempt_workflow_ids, refund_workflow_id, reissue_workflow_id
from workflows.progress import REDEMPTION_STAGE


class PendingActivity(BaseModel):
    step: str
    attempt: int
    last_error: str | None


class WorkflowState(BaseModel):
    """State of a workflow. `link`: its page in the Temporal UI, if a UI is configured."""

    id: str
    link: str | None
    status: str
    stage: str | None
    waiting: Sequence[PendingActivity]


async def workflows_of(
    temporal: Client, redemption_id: str, attempts: int, *, orders: Sequence[str] = (), ui: str | None
) -> list[WorkflowState]:
    """Workflows of every attempt, the reissues and the refund, without those that Temporal no longer retains.

    `orders`: those that the code was reissued for.

    Raises:
        temporalio.service.RPCError: Temporal is unavailable.
    """
    ids = [one for number in range(1, attempts + 1) for one in attempt_workflow_ids(redemption_id, number)]
    ids += [reissue_workflow_id(redemption_id, order) for order in orders]
    found = [await describe_workflow(temporal, one) for one in (*ids, refund_workflow_id(redemption_id))]
    base = ui and f"{ui.rstrip('/')}/namespaces/{temporal.namespace}/workflows"
    return [await _state(one, base and f"{base}/{one.id}", temporal.data_converter) for one in found if one]


async def _state(
    description: WorkflowExecutionDescription, link: str | None, converter: DataConverter
) -> WorkflowState:
    assert description.status is not None
    # A terminated workflow still lists the activities that were pending.
    is_open = description.status is WorkflowExecutionStatus.RUNNING
    pending = description.raw_description.pending_activities if is_open else ()
    return WorkflowState(
        id=description.id,
        link=link,
        status=status_label(description.status),
        stage=description.typed_search_attributes.get(REDEMPTION_STAGE),
        waiting=[
            PendingActivity(
                step=one.activity_id, attempt=one.attempt, last_error=await _message(one.last_failure, converter)
            )
            for one in pending
        ],
    )


async def _message(failure: Failure, converter: DataConverter) -> str | None:
    """The failure's message, which may be sealed. None: there was no failure, or it has no message."""
    if failure == Failure():
        return None
    try:
        error = await converter.decode_failure(failure)
    except UnreadablePayload as unreadable:
        return str(unreadable)
    return (error.message if isinstance(error, FailureError) else str(error)) or None
