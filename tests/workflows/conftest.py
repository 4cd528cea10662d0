"""Every run that a workflow test makes is replayed, and some are kept for the replays of later versions."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from tests.service import Service
from worker import WORKFLOW_RUNNER, WORKFLOWS

HISTORIES = Path(__file__).parent / "histories"


def replayer() -> Replayer:
    """Runs histories through today's workflow code, exactly as the worker would."""
    return Replayer(workflows=WORKFLOWS, workflow_runner=WORKFLOW_RUNNER, data_converter=pydantic_data_converter)


@pytest.fixture
async def service(service: Service, request: pytest.FixtureRequest) -> AsyncGenerator[Service]:
    """The service; what it ran is replayed afterwards: the cheapest test for non-determinism there is."""
    yield service
    histories = [await service.run_of(*attempt).fetch_history() for attempt in await service.attempts()]
    for history in histories:
        await replayer().replay_workflow(history)
    if request.node.get_closest_marker("recorded") and request.config.getoption("--record-histories"):
        _keep(request.node.name, histories[0])


def _keep(test: str, history: WorkflowHistory) -> None:
    HISTORIES.mkdir(exist_ok=True)
    name = test.removeprefix("test_")
    (HISTORIES / f"{name}.json").write_text(history.to_json() + "\n")
