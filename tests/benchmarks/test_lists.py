"""The benchmark of lists runs. Its limits are checked by `make bench`, on an idle machine."""

import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY = ("--customers", "200", "--entries", "400", "--rounds", "2", "--limit", "1000")


async def test_every_list_is_timed() -> None:
    command = (sys.executable, "-m", "benchmarks", *TINY)
    process = await create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=STDOUT)
    output = (await process.communicate())[0].decode()

    assert process.returncode == 0, output
    assert "reward history, used" in output
    assert output.rstrip().endswith("bench: ok")
