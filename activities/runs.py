"""Whether somebody is working on an attempt, or its refund, as the engine says."""

from collections.abc import Iterable

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode


def all_open(task_queue: str) -> str:
    """The search for every open run of a deployment. The search lags by a moment."""
    return f"ExecutionStatus = 'Running' AND TaskQueue = '{task_queue}'"


async def live_run(temporal: Client, runs: Iterable[str]) -> str | None:
    """The first of these workflow ids whose newest run is open; None when there is none."""
    for run in runs:
        description = await describe(temporal, run)
        if description is not None and description.status is WorkflowExecutionStatus.RUNNING:
            return run
    return None


async def describe(temporal: Client, run: str) -> WorkflowExecutionDescription | None:
    """The newest run of this workflow id; None when the engine knows none."""
    try:
        return await temporal.get_workflow_handle(run).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
