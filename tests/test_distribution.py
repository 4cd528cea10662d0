"""How pytest's processes share the tests."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests import conftest, scheduling

ROOT = Path(__file__).parents[1]
FILES = ("test_lots.py", "test_rewards.py")
END_TO_END = tuple(f"tests/e2e/test_{name}.py" for name in ("backup", "deaths", "redrive", "status"))


def test_each_file_is_tested_in_one_process(tmp_path: Path) -> None:
    assert conftest.pytest_xdist_make_scheduler is scheduling.pytest_xdist_make_scheduler

    ran = distribution(tmp_path, FILES, processes=2)

    assert sorted(file for _, file in ran) == sorted(FILES)
    assert len({process for process, _ in ran}) == 2


def test_two_processes_test_end_to_end(tmp_path: Path) -> None:
    ran = distribution(tmp_path, END_TO_END, processes=4)

    assert sorted(file for _, file in ran) == sorted(END_TO_END)
    assert len({process for process, _ in ran}) == 2


def distribution(folder: Path, files: Sequence[str], *, processes: int) -> set[tuple[str, str]]:
    """The process that ran each of the files, with tests that do nothing."""
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(f"def test_{number}(): pass" for number in range(20)))
    # Not as a part of the run that this test belongs to. By default a second run closes the folder of all runs to other
    # users, and PostgreSQL of root's tests is run by one.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    options = f"-n {processes} -v -p xdist -p tests.scheduling -p no:cacheprovider --basetemp={folder / 'run'}".split()
    command = [sys.executable, "-m", "pytest", *options, *files]
    run = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
    return set(re.findall(r"\[(gw\d)\].* PASSED ([^:]+)::", run.stdout))
