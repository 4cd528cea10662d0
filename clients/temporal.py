"""Search and describe workflows. Search results lag behind by about a second."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

PROBLEMS = SearchAttributeKey.for_keyword_list("TemporalReportedProblems")
_FAILED = "category=WorkflowTaskFailed"
_IDS_PER_QUERY = 100


@dataclass(frozen=True, kw_only=True)
class OpenWorkflow:
    """An open workflow. `problem`: why its workflow tasks fail; None if they do not, or if no worker answers them."""

    id: str
    started_at: datetime
    problem: str | None


def open_workflows_query(task_queue: str) -> str:
    """Search query for every open workflow of a deployment."""
    return f"ExecutionStatus = 'Running' AND TaskQueue = '{task_queue}'"


async def open_workflows(temporal: Client, *, task_queue: str) -> dict[str, OpenWorkflow]:
    """Every open workflow of a deployment, by workflow id."""
    found = temporal.list_workflows(open_workflows_query(task_queue))
    return {one.id: OpenWorkflow(id=one.id, started_at=one.start_time, problem=_problem(one)) async for one in found}


def _problem(workflow: WorkflowExecution) -> str | None:
    problems = workflow.typed_search_attributes.get(PROBLEMS) or []
    # A task that timed out is a fault of the worker, not of the code.
    if _FAILED not in problems:
        return None
    causes = [one.partition("cause=")[2] or one for one in problems if not one.startswith("category=")]
    return ", ".join(causes) or None


async def failed_task(temporal: Client, workflow_id: str) -> str | None:
    """Why the workflow's last task failed. None: it has not. The search says so only after several failures."""
    cause: str | None = None
    async for event in temporal.get_workflow_handle(workflow_id).fetch_history_events():
        if event.HasField("workflow_task_completed_event_attributes"):
            cause = None
        elif event.HasField("workflow_task_failed_event_attributes"):
            name = WorkflowTaskFailedCause.Name(event.workflow_task_failed_event_attributes.cause)
            # As the search has it.
            cause = "".join(word.capitalize() for word in name.split("_"))
    return cause


async def search_workflow_ids(temporal: Client, query: str) -> list[str]:
    """Ids of the purchase, recovery and refund workflows, open or closed, that match a search query.

    Raises:
        temporalio.service.RPCError: INVALID_ARGUMENT if the query is invalid.
    """
    ours = f"({query}) AND WorkflowType IN ('RedeemReward', 'SettleRedemption', 'RefundRedemption')"
    return list(dict.fromkeys([one.id async for one in temporal.list_workflows(ours)]))


async def search_statuses(temporal: Client, workflow_ids: Sequence[str]) -> dict[str, str]:
    """Workflow id → status of its latest run, such as `terminated`. Unknown ids are left out."""
    latest: dict[str, WorkflowExecution] = {}
    for start in range(0, len(workflow_ids), _IDS_PER_QUERY):
        listed = ", ".join(f"'{one}'" for one in workflow_ids[start : start + _IDS_PER_QUERY])
        async for one in temporal.list_workflows(f"WorkflowId IN ({listed})"):
            if one.id not in latest or one.start_time > latest[one.id].start_time:
                latest[one.id] = one
    return {one.id: status_label(one.status) for one in latest.values() if one.status is not None}


def status_label(status: WorkflowExecutionStatus) -> str:
    """A status for people and programs, such as `timed out`."""
    return status.name.lower().replace("_", " ")


async def find_open_workflow(temporal: Client, workflow_ids: Iterable[str]) -> str | None:
    """The first of these workflow ids that is open; None if none is. Consistent, unlike a search."""
    for workflow_id in workflow_ids:
        description = await describe_workflow(temporal, workflow_id)
        if description is not None and description.status is WorkflowExecutionStatus.RUNNING:
            return workflow_id
    return None


async def describe_workflow(temporal: Client, workflow_id: str) -> WorkflowExecutionDescription | None:
    """The latest run of a workflow id; None if Temporal has none."""
    try:
        return await temporal.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
