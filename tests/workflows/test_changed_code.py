"""The replays have teeth: what would break an open run fails them, and a patch makes them pass.

Each change is made in a copy of the package under another name, which then replays the recorded histories.
"""

import importlib
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import WorkflowHistory

from tests.changed_code import copy_workflows, edit
from tests.workflows.conftest import replayer
from tests.workflows.test_replay import RECORDED

FIRST = "        async with self._saga as saga:\n"
PATCHED = '        if workflow.patched("rest-first"):\n            await workflow.sleep(1)\n'
CLOSE = "        self._journal.close(answer.refusal)\n"

BREAKS = {
    "a_step_is_added": ("redeem_reward.py", FIRST, "        await workflow.sleep(1)\n" + FIRST),
    "a_step_is_left_out": ("redeem_reward.py", CLOSE, ""),
    "two_steps_are_swapped": ("delivering.py", "in self._attempt.channels))", "in reversed(self._attempt.channels)))"),
    "a_step_is_renamed": ("delivering.py", "activity_id=channel)", 'activity_id=f"{channel}-1")'),
}
HARMLESS = {
    "a_step_is_added_with_a_patch": ("redeem_reward.py", FIRST, PATCHED + FIRST),
    "a_time_out_is_changed": (
        "saga.py",
        "INSIST_TIMEOUT = timedelta(seconds=30)",
        "INSIST_TIMEOUT = timedelta(seconds=90)",
    ),
}


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory whose packages can be imported."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


@pytest.mark.parametrize(("file", "old", "new"), BREAKS.values(), ids=BREAKS)
async def test_a_change_that_open_runs_cannot_follow_fails_the_replays(
    imported: Path, file: str, old: str, new: str
) -> None:
    assert await failures_after(imported, file, old, new)


@pytest.mark.parametrize(("file", "old", "new"), HARMLESS.values(), ids=HARMLESS)
async def test_a_change_that_open_runs_can_follow_passes_them(imported: Path, file: str, old: str, new: str) -> None:
    assert await failures_after(imported, file, old, new) == []


async def failures_after(directory: Path, file: str, old: str, new: str) -> list[str]:
    """The recorded purchases that `RedeemReward` cannot go on with after this change."""
    name = f"changed_{uuid4().hex}"
    package = copy_workflows(directory / name)
    edit(package / file, old, new)
    for module in package.glob("*.py"):
        module.write_text(module.read_text().replace("from workflows.", f"from {name}."))
    changed = importlib.import_module(f"{name}.redeem_reward").RedeemReward
    return [run for run in RECORDED if run.startswith("RedeemReward.") and not await replays(changed, run)]


async def replays(workflow: type, run: str) -> bool:
    """Whether this code takes the same steps as the recorded run."""
    history = WorkflowHistory.from_json(run, RECORDED[run])
    result = await replayer([workflow]).replay_workflow(history, raise_on_replay_failure=False)
    return result.replay_failure is None
