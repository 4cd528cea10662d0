"""`python -m chaos`: a long random run of the real stack, and exit status 1 if anything was not as it must be."""

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
from tests.chaos.fleet import Fleet
from tests.chaos.run import Chaos, Trouble

INTERRUPTED = 130

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    seconds: Annotated[int, typer.Option(envvar="CHAOS_SECONDS", min=5, help="How long faults go on.")] = 300,
    seed: Annotated[int | None, typer.Option(envvar="CHAOS_SEED", help="Repeat a run's decisions.")] = None,
    deadline: Annotated[float, typer.Option(min=1, max=25, help="Seconds that each purchase is given.")] = 10,
    without: Annotated[list[Trouble] | None, typer.Option(help="Leave one kind of trouble out.")] = None,
    *,
    verbose: Annotated[bool, typer.Option("--verbose", help="Tell of every part's start and death.")] = False,
) -> None:
    """Kill, cut off and mislead every part of the real stack while customers buy, then check that all adds up."""
    # Temporal is made to be away; that its client noticed would only tear the progress apart.
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=None)))
    console = Console()
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    console.print(f"chaos seed {seed}; repeat with: make chaos CHAOS_SEED={seed} CHAOS_SECONDS={seconds}")
    home = Path(tempfile.mkdtemp(prefix="pointsaga-chaos-"))
    fleet = Fleet(home, deadline_seconds=deadline, report=progress(console) if verbose else silent)

    async def perform() -> None:
        async with Chaos.running(fleet, seed=seed, seconds=seconds, console=console) as chaos:
            await chaos.play(console, without=without or ())

    status = run_until_signal(perform, fleet, failure="chaos: failed", interrupted=INTERRUPTED)
    if status == 0:
        console.print("chaos: ok", style="bold green")
    if status == INTERRUPTED:
        console.print("chaos: interrupted, all parts are stopped")
    if status in (0, INTERRUPTED):
        shutil.rmtree(home, ignore_errors=True)
    raise typer.Exit(status)


if __name__ == "__main__":
    app()
