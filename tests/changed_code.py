"""Copies of the workflows, changed as a developer might. The project's own files stay as they are."""

import shutil
from pathlib import Path

WORKFLOWS = Path(__file__).parents[1] / "workflows"


def copy_workflows(to: Path) -> Path:
    """A copy of the package `workflows`, without what was compiled."""
    return Path(shutil.copytree(WORKFLOWS, to, ignore=shutil.ignore_patterns("__pycache__")))


def edit(file: Path, old: str, new: str) -> None:
    """Replace the only place where this stands."""
    text = file.read_text()
    assert text.count(old) == 1, f"{file.name} does not contain, or not once: {old}"
    file.write_text(text.replace(old, new))
