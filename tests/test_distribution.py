"""How pytest's processes share the tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = ("tests/domain/test_ladder.py", "tests/domain/test_points.py")


def test_each_file_is_tested_in_one_process(tmp_path: Path) -> None:
    # Not as a part of the run that this test belongs to. By default a second run closes the folder of all runs to other
    # users, and PostgreSQL of root's tests is run by one.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    options = ["-n", "2", "-v", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'run'}"]
    command = [sys.executable, "-m", "pytest", *options, *FILES]

    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)

    ran = {tuple(found) for found in re.findall(r"\[(gw\d)\].* PASSED ([^:]+)::", run.stdout)}
    assert sorted(file for _, file in ran) == sorted(FILES), run.stdout
    assert len({process for process, _ in ran}) == 2, run.stdout
