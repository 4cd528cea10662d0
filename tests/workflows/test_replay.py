"""Workflows that earlier versions started continue under the current code.

`pytest tests/workflows --record-histories` records the histories anew. Do that for a versioned change only, or before
a workflow's first release: a failing replay is a workflow, and a customer, that gets stuck.
"""

import pytest

from tests.workflows.replay import RECORDED, replays
from worker import WORKFLOWS


@pytest.mark.parametrize("name", RECORDED)
async def test_a_recorded_history_replays(name: str) -> None:
    assert await replays(name)


def test_every_workflow_has_a_history() -> None:
    recorded = {name.partition(".")[0] for name in RECORDED}

    assert recorded == {workflow.__name__ for workflow in WORKFLOWS}
