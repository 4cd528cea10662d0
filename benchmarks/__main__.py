"""`python -m benchmarks`: compares the lists of a large shop with those of a small one. Exit status 1: too slow."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.data import Sizes
from benchmarks.lists import measure, report, running_shop

SMALL = Sizes(customers=100, entries=200)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    customers: Annotated[int, typer.Option(min=100, help="Customers of the large shop.")] = 100_000,
    entries: Annotated[int, typer.Option(min=200, help="Entries of each kind in the large shop.")] = 1_000_000,
    rounds: Annotated[int, typer.Option(min=2, help="Measured requests per page.")] = 50,
    limit: Annotated[float, typer.Option(min=1, help="Maximum ratio to the small shop.")] = 1.5,
) -> None:
    """Time the first and a deep page of every list, relative to the first page of the same list in a small shop."""
    console = Console()
    too_slow = asyncio.run(_run(console, Sizes(customers=customers, entries=entries), rounds, limit))
    console.print("bench: too slow" if too_slow else "bench: ok", style="bold red" if too_slow else "bold green")
    raise typer.Exit(too_slow)


async def _run(console: Console, sizes: Sizes, rounds: int, limit: float) -> bool:
    with tempfile.TemporaryDirectory(prefix="pointsaga-") as folder, console.status("filling both shops") as status:
        home = Path(folder)
        async with running_shop(SMALL, home / "small") as small, running_shop(sizes, home / "large") as large:
            timings = await measure(small, large, rounds=rounds, show=status.update)
    console.print(report(timings))
    return any(max(timing.ratios) > limit for one, timing in timings.items() if not one.matches_all)


if __name__ == "__main__":
    app()
