"""A short chaos run. Longer ones: `make chaos`."""

import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

ROOT = Path(__file__).parents[2]
# With this seed an API and Temporal die, but no worker: its activities are retried after half a minute only. Without
# operators: what they terminate waits for the reconciler. Both take too long for a test.
SHORT = ("--seconds", "5", "--seed", "42", "--deadline", "5", "--without", "operators")


async def test_a_short_run_violates_no_invariant() -> None:
    command = (sys.executable, "-m", "tests.chaos", *SHORT)
    process = await create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=STDOUT)
    output = (await process.communicate())[0].decode()

    assert process.returncode == 0, output
    assert output.startswith("chaos seed 42;")
    assert output.rstrip().endswith("chaos: ok")
