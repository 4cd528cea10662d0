"""The bench runs: what it measures is for `make bench` and a quiet machine."""

import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY = ("--customers", "200", "--entries", "400", "--rounds", "2", "--limit", "1000")


async def test_every_list_is_timed() -> None:
    process = await create_subprocess_exec(sys.executable, "-m", "bench", *TINY, cwd=ROOT, stdout=PIPE, stderr=STDOUT)
    said = (await process.communicate())[0].decode()

    assert process.returncode == 0, said
    assert "reward history, used" in said
    assert said.rstrip().endswith("bench: ok")
