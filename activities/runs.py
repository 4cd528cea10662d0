"""Whether somebody is working on an attempt, as the engine says."""

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from domain.redemptions import settlement_id, workflow_id


def run_ids(redemption_id: str, attempt: int) -> tuple[str, str]:
    """The workflow ids under which an attempt can be in hand: its own, and its settlement's."""
    return workflow_id(redemption_id, attempt), settlement_id(redemption_id, attempt)


def all_open(task_queue: str) -> str:
    """The search for every open run of a deployment. The search lags by a moment."""
    return f"ExecutionStatus = 'Running' AND TaskQueue = '{task_queue}'"


async def live_run(temporal: Client, redemption_id: str, attempt: int) -> str | None:
    """The workflow id of the attempt's open run: its own, or its settlement. None when nobody is working on it."""
    for run in run_ids(redemption_id, attempt):
        if await is_running(temporal, run):
            return run
    return None


async def is_running(temporal: Client, run: str) -> bool:
    """Whether the newest run of this workflow id is open."""
    description = await describe(temporal, run)
    return description is not None and description.status is WorkflowExecutionStatus.RUNNING


async def describe(temporal: Client, run: str) -> WorkflowExecutionDescription | None:
    """The newest run of this workflow id; None when the engine knows none."""
    try:
        return await temporal.get_workflow_handle(run).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
