"""What the engine's search knows of runs: pages of them, instead of a question about each. It lags by a moment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

_PROBLEMS = SearchAttributeKey.for_keyword_list("TemporalReportedProblems")
_IDS_PER_QUERY = 100


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """A run that is not closed. `problem` is why its workflow code fails, None while it does not."""

    id: str
    workflow_type: str
    started_at: datetime
    problem: str | None


async def open_runs(temporal: Client, *, task_queue: str) -> dict[str, OpenRun]:
    """Every open run of this deployment, by workflow id."""
    return {run.id: _open_run(run) async for run in temporal.list_workflows(all_open(task_queue))}


async def matching(temporal: Client, query: str) -> list[str]:
    """The workflow ids, once each, of the runs that match a search of the engine's own kind.

    Raises:
        temporalio.service.RPCError: INVALID_ARGUMENT when the engine does not understand the query.
    """
    ours = f"({query}) AND WorkflowType IN ('RedeemReward', 'SettleRedemption', 'RefundRedemption')"
    return list(dict.fromkeys([run.id async for run in temporal.list_workflows(ours)]))


async def endings(temporal: Client, ids: Sequence[str]) -> dict[str, str]:
    """How the newest run of each workflow id ended, such as `terminated`; ids that the engine forgot are left out."""
    newest: dict[str, WorkflowExecution] = {}
    for start in range(0, len(ids), _IDS_PER_QUERY):
        listed = ", ".join(f"'{one}'" for one in ids[start : start + _IDS_PER_QUERY])
        async for run in temporal.list_workflows(f"WorkflowId IN ({listed})"):
            if run.id not in newest or run.start_time > newest[run.id].start_time:
                newest[run.id] = run
    return {run.id: run.status.name.lower().replace("_", " ") for run in newest.values() if run.status is not None}


def _open_run(run: WorkflowExecution) -> OpenRun:
    problems = run.typed_search_attributes.get(_PROBLEMS) or []
    causes = [one.partition("cause=")[2] or one for one in problems if not one.startswith("category=")]
    return OpenRun(
        id=run.id,
        workflow_type=run.workflow_type,
        started_at=run.start_time,
        problem=", ".join(causes) or None,
    )


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
