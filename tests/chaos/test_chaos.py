"""A short chaos run: the long ones are `make chaos`."""

import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

ROOT = Path(__file__).parents[2]
# With this seed an API and Temporal die: the steps of a worker that dies are tried again after half a minute only. No
# operators: what they terminate waits for the next round of the reconciler. Both are too long for a test.
SHORT = ("--seconds", "5", "--seed", "18", "--deadline", "5", "--without", "operators")


async def test_a_short_run_under_faults_leaves_nothing_wrong() -> None:
    process = await create_subprocess_exec(sys.executable, "-m", "chaos", *SHORT, cwd=ROOT, stdout=PIPE, stderr=STDOUT)
    said = (await process.communicate())[0].decode()

    assert process.returncode == 0, said
    assert said.startswith("chaos seed 18;")
    assert said.rstrip().endswith("chaos: ok")
