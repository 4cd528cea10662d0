"""How pytest's processes share the tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests import conftest, scheduling

ROOT = Path(__file__).parents[1]
FILES = ("test_lots.py", "test_rewards.py")


def test_each_file_is_tested_in_one_process(tmp_path: Path) -> None:
    assert conftest.pytest_xdist_make_scheduler is scheduling.pytest_xdist_make_scheduler
    for name in FILES:
        tests = "\n".join(f"def test_{number}(): pass" for number in range(20))
        (tmp_path / name).write_text(tests)
    # Not as a part of the run that this test belongs to. By default a second run closes the folder of all runs to other
    # users, and PostgreSQL of root's tests is run by one.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    options = f"-n 2 -v -p xdist -p tests.scheduling -p no:cacheprovider --basetemp={tmp_path / 'run'}".split()
    command = [sys.executable, "-m", "pytest", *options, *FILES]

    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)

    ran = {tuple(found) for found in re.findall(r"\[(gw\d)\].* PASSED ([^:]+)::", run.stdout)}
    assert sorted(file for _, file in ran) == sorted(FILES), run.stdout
    assert len({process for process, _ in ran}) == 2, run.stdout
