"""`python -m tests.chaos`: a long random run of the real stack. Exit status 1 if an invariant does not hold."""

import random
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from temporalio.runtime import Runtime, TelemetryConfig

from local_stack.console import progress, run_until_signal
from local_stack.stack import silent
from tests.chaos.processes import ChaosStack
from tests.chaos.run import Chaos, FaultKind

INTERRUPTED = 130

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    seconds: Annotated[int, typer.Option(envvar="CHAOS_SECONDS", min=5, help="Duration of the faults.")] = 300,
    seed: Annotated[int | None, typer.Option(envvar="CHAOS_SEED", help="Repeat the decisions of a run.")] = None,
    deadline: Annotated[float, typer.Option(min=1, max=25, help="Deadline of each purchase, in seconds.")] = 10,
    without: Annotated[list[FaultKind] | None, typer.Option(help="Leave out one kind of fault.")] = None,
    *,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print every start and death of a process.")] = False,
) -> None:
    """Inject faults into every part of the real stack while customers buy, then check every invariant."""
    # Without the SDK's own messages: Temporal is killed on purpose.
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=None)))
    console = Console()
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    console.print(f"chaos seed {seed}; repeat with: make chaos CHAOS_SEED={seed} CHAOS_SECONDS={seconds}")
    home = Path(tempfile.mkdtemp(prefix="pointsaga-chaos-"))
    stack = ChaosStack(home, deadline_seconds=deadline, report=progress(console) if verbose else silent)

    async def run() -> None:
        async with Chaos.running(stack, seed=seed, seconds=seconds) as chaos:
            await chaos.run(console, without=without or ())

    status = run_until_signal(run, stack, failure="chaos: failed", interrupted=INTERRUPTED)
    if status == 0:
        console.print("chaos: ok", style="bold green")
    if status == INTERRUPTED:
        console.print("chaos: interrupted, all parts are stopped")
    if status in (0, INTERRUPTED):
        shutil.rmtree(home, ignore_errors=True)
    raise typer.Exit(status)


if __name__ == "__main__":
    app()
