"""Every run that a workflow test makes is replayed, and some are kept for the replays of later versions."""

import base64
import re
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from tests.service import Service
from worker import WORKFLOW_RUNNER, WORKFLOWS

HISTORIES = Path(__file__).parent / "histories"
ROOT = Path(__file__).parents[2]

SECRETS = re.compile(r"@shopper\.io|\+4477009|Jane|MAGE-\w+|(?:shpat_|pk_|om_|sk_|full-|read-)[0-9a-f]{12}")
"""The discount codes, keys and personal data of every shop that tests make."""


def readable(history: WorkflowHistory) -> str:
    """A history as an operator can read it: payloads are base 64 in the JSON form."""
    text = history.to_json()
    parts = re.findall(r'"data": ?"([A-Za-z0-9+/=]+)"', text)
    return text + "".join(base64.b64decode(part).decode() for part in parts)


def replayer(workflows: Sequence[type] = WORKFLOWS) -> Replayer:
    """Runs histories through today's workflow code, exactly as the worker would."""
    return Replayer(workflows=workflows, workflow_runner=WORKFLOW_RUNNER, data_converter=pydantic_data_converter)


@pytest.fixture
async def service(service: Service, request: pytest.FixtureRequest) -> AsyncGenerator[Service]:
    """The service; afterwards all that it ran is replayed, the cheapest test for non-determinism, and names nobody."""
    yield service
    histories: dict[str, WorkflowHistory] = {}
    async for run in service.temporal.list_workflows(f"TaskQueue = '{service.settings.temporal_task_queue}'"):
        history = await service.temporal.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        await replayer().replay_workflow(history)
        assert SECRETS.findall(readable(history)) == []
        if run.close_time is not None:
            histories[run.workflow_type] = history
    if request.node.get_closest_marker("recorded") and request.config.getoption("--record-histories"):
        for workflow_type, history in histories.items():
            _keep(request.node.name.removeprefix("test_"), workflow_type, history)


def _keep(test: str, workflow_type: str, history: WorkflowHistory) -> None:
    HISTORIES.mkdir(exist_ok=True)
    # Stack traces name files; where the repository lay on the machine that recorded them is nobody's business.
    text = history.to_json().replace(f"{ROOT}/", "").replace(sys.prefix, "")
    (HISTORIES / f"{workflow_type}.{test}.json").write_text(text + "\n")
