"""Every workflow that a test runs is replayed afterwards, and some histories are recorded."""

import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from socket import gethostname

import pytest
from temporalio.client import WorkflowHistory
from temporalio.testing import WorkflowEnvironment

from tests.service import Service
from tests.waiting import wait_until
from tests.workflows.replay import HISTORIES, SECRETS, readable, replayer
from tests.workflows.situations import Workflow, details_of
from worker import WORKFLOWS

ROOT = Path(__file__).parents[2]
Outage = Callable[[Workflow], Awaitable[None]]


@pytest.fixture
async def service(service: Service, request: pytest.FixtureRequest) -> AsyncGenerator[Service]:
    """The service. Afterwards its histories must replay, and contain no secret, nor may the current details."""
    yield service
    closed: dict[str, WorkflowHistory] = {}
    converter = service.temporal.data_converter
    async for one in service.temporal.list_workflows(f"TaskQueue = '{service.settings.temporal_task_queue}'"):
        workflow = service.temporal.get_workflow_handle(one.id, run_id=one.run_id)
        history = await workflow.fetch_history()
        # The preparation of a workflow is most of the work.
        replayed = [one_type for one_type in WORKFLOWS if one_type.__name__ == one.workflow_type]
        await replayer(replayed, converter).replay_workflow(history)
        # A workflow that was terminated before its first task cannot be queried.
        has_begun = any(event.HasField("workflow_task_completed_event_attributes") for event in history.events)
        shown = await readable(history, converter) + (await details_of(workflow) if has_begun else "")
        assert SECRETS.findall(shown) == []
        if one.close_time is not None:
            closed[one.workflow_type] = history
    if request.node.get_closest_marker("recorded") and request.config.getoption("--record-histories"):
        for workflow_type, history in closed.items():
            _record(request.node.name.removeprefix("test_"), workflow_type, history)


@pytest.fixture
def outage(temporal: WorkflowEnvironment, request: pytest.FixtureRequest) -> Outage:
    """Wait until the workflow has lasted for the length of an outage, in skipped time."""
    length = timedelta(hours=float(request.config.getoption("--outage-hours") or 0))

    async def outage(workflow: Workflow) -> None:
        began = (await workflow.describe()).start_time

        async def is_over() -> bool:
            return await temporal.get_current_time(workflow) - began > length

        await wait_until(is_over, seconds=60 + 240 * length / timedelta(hours=1))

    return outage


def _record(test: str, workflow_type: str, history: WorkflowHistory) -> None:
    HISTORIES.mkdir(exist_ok=True)
    # Without what names this machine: paths in stack traces, and the worker's host.
    text = history.to_json().replace(f"{ROOT}/", "").replace(sys.prefix, "")
    text = re.sub(rf"[0-9]+@{re.escape(gethostname())}", "1@test", text)
    (HISTORIES / f"{workflow_type}.{test}.json").write_text(text + "\n")
