"""`python -m benchmarks`: measures purchases and lists. Exit status 1: something exceeds its limit."""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import charts, cost, flash_sale, growth, latency, lists, telemetry
from benchmarks.cost import CostPlan
from benchmarks.data import Sizes
from benchmarks.flash_sale import FlashSalePlan
from benchmarks.growth import GrowthPlan
from benchmarks.latency import LatencyPlan
from benchmarks.results import ROOT, Results
from benchmarks.telemetry import TelemetryPlan

SECTIONS = ("latency", "cost", "growth", "lists", "flash-sale", "telemetry")
LISTS_LIMIT = 1.5
SMALL_SHOP = Sizes(customers=100, entries=200)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What each section measures. `list_rounds`: requests per page."""

    latency: LatencyPlan = field(default_factory=LatencyPlan)
    cost: CostPlan = field(default_factory=CostPlan)
    growth: GrowthPlan = field(default_factory=GrowthPlan)
    lists: Sizes = field(default_factory=lambda: Sizes(customers=100_000, entries=1_000_000))
    list_rounds: int = 50
    flash_sale: FlashSalePlan = field(default_factory=FlashSalePlan)
    telemetry: TelemetryPlan = field(default_factory=TelemetryPlan)


FULL = Plan(growth=GrowthPlan(memory=(1_000, 10_000)))
QUICK = Plan(
    latency=LatencyPlan(delays=(0, 10), counts=((1, 3), (4, 8)), rounds=1),
    cost=CostPlan(purchases=8, in_flight=4),
    growth=GrowthPlan(lots=(1, 3), redemptions=(10, 100), burst=8, memory=(10, 20), samples=10),
    lists=Sizes(customers=200, entries=400),
    list_rounds=2,
    flash_sale=FlashSalePlan(buyers=12, cap=8, in_flight=4, quiet=2, pause=0.1),
    telemetry=TelemetryPlan(traced=(1.0,), rounds=1, purchases=4),
)


@app.command()
def main(
    *,
    only: Annotated[str, typer.Option(help="Sections to measure, separated by commas.")] = ",".join(SECTIONS),
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes and no limits, to test the benchmarks.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Also memory after 10,000 purchases.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder for results and charts. [default: those of the repository]")
    ] = None,
) -> None:
    """Measure latency, cost and growth of purchases on a local stack, lists, a flash sale, and telemetry."""
    chosen = only.split(",")
    if unknown := set(chosen) - set(SECTIONS):
        raise typer.BadParameter(f"unknown: {', '.join(sorted(unknown))}; possible: {', '.join(SECTIONS)}")
    console = Console()
    plan = QUICK if quick else FULL if full else Plan()
    results = asyncio.run(_measure(chosen, plan, console))
    if output or not quick:
        _write(results, results_in=output or ROOT / "benchmarks" / "results", charts_in=output or ROOT / "docs")
    exceeded = [] if quick else results.exceeded(lists_limit=LISTS_LIMIT)
    for name in exceeded:
        console.print(f"exceeds its limit: {name}", style="red")
    console.print("bench: too slow" if exceeded else "bench: ok", style="bold red" if exceeded else "bold green")
    raise typer.Exit(bool(exceeded))


async def _measure(chosen: list[str], plan: Plan, console: Console) -> Results:
    results = Results()
    with tempfile.TemporaryDirectory(prefix="pointsaga-bench-") as folder:
        home = Path(folder)

        def show(step: str) -> None:
            console.print(step, style="dim")

        if "latency" in chosen:
            results.latency = await latency.measure(home / "latency", plan.latency, show)
            console.print(latency.table(results.latency))
        if "cost" in chosen:
            results.cost = await cost.measure(home / "cost", plan.cost, show)
            console.print(*cost.tables(results.cost), sep="\n")
        if "growth" in chosen:
            results.growth = await growth.measure(home / "growth", plan.growth, show)
            console.print(growth.table(results.growth))
        if "lists" in chosen:
            results.lists = await _measure_lists(home, plan, show)
            console.print(lists.report(results.lists))
        if "flash-sale" in chosen:
            results.flash_sale = await flash_sale.measure(home / "flash-sale", plan.flash_sale, show)
            console.print(flash_sale.table(results.flash_sale))
        if "telemetry" in chosen:
            results.telemetry = await telemetry.measure(home / "telemetry", plan.telemetry, show)
            console.print(telemetry.table(results.telemetry))
    return results


async def _measure_lists(home: Path, plan: Plan, show: Callable[[str], None]) -> dict[lists.List, lists.Timing]:
    show("lists: filling a small and a large shop")
    async with (
        lists.running_shop(SMALL_SHOP, home / "small") as small,
        lists.running_shop(plan.lists, home / "large") as large,
    ):
        show("lists: first and deep page of each")
        return await lists.measure(small, large, rounds=plan.list_rounds)


def _write(results: Results, *, results_in: Path, charts_in: Path) -> None:
    results_in.mkdir(parents=True, exist_ok=True)
    results.write(results_in / "latest.json")
    if results.latency:
        charts.draw_latency(results.latency, charts_in / "latency.svg")
    if results.growth:
        charts.draw_growth(results.growth, charts_in / "growth.svg")
    if results.flash_sale:
        charts.draw_flash_sale(results.flash_sale, charts_in / "flash-sale.svg")


if __name__ == "__main__":
    app()
