"""Runs of earlier versions go on under today's code.

The histories come from real runs: `pytest tests/workflows --record-histories` writes them anew. Do that only for a
change that is versioned, or before the first release of a workflow; a failing replay is a customer who gets stuck.
"""

import pytest
from temporalio.client import WorkflowHistory

from tests.workflows.conftest import HISTORIES, replayer
from worker import WORKFLOWS

RECORDED = {path.stem: path.read_text() for path in sorted(HISTORIES.glob("*.json"))}


@pytest.mark.parametrize("name", RECORDED)
async def test_a_recorded_run_replays(name: str) -> None:
    history = WorkflowHistory.from_json(name, RECORDED[name])

    result = await replayer().replay_workflow(history, raise_on_replay_failure=False)

    assert result.replay_failure is None


def test_there_is_a_history_of_every_workflow() -> None:
    recorded = {name.partition(".")[0] for name in RECORDED}

    assert recorded == {workflow.__name__ for workflow in WORKFLOWS}
