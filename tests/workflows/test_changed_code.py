"""Replays detect incompatible changes of workflow code, and a patch makes a change compatible.

Each change is made in a copy of the package under another name, which replays the recorded histories.
"""

import importlib
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.changed_code import copy_workflows, edit
from tests.workflows.replay import RECORDED, replays

FIRST = "        async with self._saga as saga:\n"
PATCHED = '        if workflow.patched("sleep-first"):\n            await workflow.sleep(1)\n'
FINISH = "        self._progress.finish()\n"

INCOMPATIBLE = {
    "added": ("redeem_reward.py", FIRST, "        await workflow.sleep(1)\n" + FIRST),
    "removed": ("redeem_reward.py", FINISH, ""),
    "swapped": ("saga.py", "for undo in self._undos:", "for undo in reversed(self._undos):"),
    "renamed": ("deliveries.py", "activity_id=channel)", 'activity_id=f"{channel}-1")'),
}
COMPATIBLE = {
    "patched": ("redeem_reward.py", FIRST, PATCHED + FIRST),
    "timeout": ("saga.py", "INSIST_TIMEOUT = timedelta(seconds=30)", "INSIST_TIMEOUT = timedelta(seconds=90)"),
}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


@pytest.mark.parametrize(("file", "old", "new"), INCOMPATIBLE.values(), ids=INCOMPATIBLE)
async def test_an_incompatible_change_fails_the_replay(packages: Path, file: str, old: str, new: str) -> None:
    assert await failures_after(packages, file, old, new)


@pytest.mark.parametrize(("file", "old", "new"), COMPATIBLE.values(), ids=COMPATIBLE)
async def test_a_compatible_change_passes_the_replay(packages: Path, file: str, old: str, new: str) -> None:
    assert await failures_after(packages, file, old, new) == []


async def failures_after(directory: Path, file: str, old: str, new: str) -> list[str]:
    """The recorded purchases that the changed code does not replay."""
    name = f"changed_{uuid4().hex}"
    package = copy_workflows(directory / name)
    edit(package / file, old, new)
    for module in package.glob("*.py"):
        module.write_text(module.read_text().replace("from workflows.", f"from {name}."))
    changed = importlib.import_module(f"{name}.redeem_reward").RedeemReward
    return [one for one in RECORDED if one.startswith("RedeemReward.") and not await replays(one, [changed])]
