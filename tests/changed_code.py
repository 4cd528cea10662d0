"""Changed copies of the package `workflows`."""

import shutil
from pathlib import Path

WORKFLOWS = Path(__file__).parents[1] / "workflows"


def copy_workflows(to: Path) -> Path:
    return Path(shutil.copytree(WORKFLOWS, to, ignore=shutil.ignore_patterns("__pycache__")))


def edit(file: Path, old: str, new: str) -> None:
    """Replace a text that must occur once."""
    text = file.read_text()
    assert text.count(old) == 1, f"{file.name} does not contain, or not once: {old}"
    file.write_text(text.replace(old, new))
