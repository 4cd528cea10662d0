"""What telemetry costs: CPU time of a stack without it, and of stacks with metrics and traces, side by side."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import httpx
from rich.table import Table

from benchmarks.load import run
from benchmarks.product import BenchShop, Product

CUSTOMERS = 100
OFF = "off"
OURS = ("worker", "api")
ALL = (*OURS, "temporal")

SCRAPE_EVERY = 5
"""Rounds. They take the 15 seconds after which Prometheus scrapes again."""


@dataclass(frozen=True, kw_only=True)
class TelemetryPlan:
    """Each stack purchases so often per round. `traced`: the shares of requests that are traced."""

    traced: tuple[float, ...] = (1.0, 0.1, 0.01)
    rounds: int = 20
    purchases: int = 60
    in_flight: int = 8


@dataclass(frozen=True, kw_only=True)
class Telemetry:
    """CPU time per purchase by process, in milliseconds by round, and by what is on."""

    cpu: dict[str, list[dict[str, float]]]

    def milliseconds(self, name: str, processes: Sequence[str]) -> float:
        """The CPU time per purchase of these processes together."""
        return mean(sum(cpu[process] for process in processes) for cpu in self.cpu[name])

    def ratio(self, name: str, processes: Sequence[str]) -> float:
        """The CPU time with telemetry to that without it."""
        return self.milliseconds(name, processes) / self.milliseconds(OFF, processes)

    def document(self) -> dict[str, object]:
        """The JSON document."""
        return {
            name: {
                "cpu_ms": {process: round(self.milliseconds(name, [process]), 1) for process in ALL},
                "ratio": round(self.ratio(name, ALL), 3),
                "ratio_of_worker_and_api": round(self.ratio(name, OURS), 3),
            }
            for name in self.cpu
        }


async def measure(home: Path, plan: TelemetryPlan, show: Callable[[str], None]) -> Telemetry:
    """Purchase in turns, so that other load on the machine affects all stacks."""
    async with AsyncExitStack() as stacks:
        shops: dict[str, BenchShop] = {}
        for name, traced in {OFF: None, **{f"traced {one:.0%}": one for one in plan.traced}}.items():
            product = await stacks.enter_async_context(Product.running(home / str(len(shops)), traced=traced))
            shops[name] = await product.open_shop("telemetry", customers=CUSTOMERS)
            # Opens the database connections.
            await run(shops[name], count=plan.in_flight * 2, in_flight=plan.in_flight)
        cpu: dict[str, list[dict[str, float]]] = {name: [] for name in shops}
        for number in range(plan.rounds):
            show(f"telemetry: round {number + 1} of {plan.rounds}")
            for name, shop in shops.items():
                cpu[name].append(await _cpu(shop, plan, scrape=number % SCRAPE_EVERY == 0))
    return Telemetry(cpu=cpu)


async def _cpu(shop: BenchShop, plan: TelemetryPlan, *, scrape: bool) -> dict[str, float]:
    """Purchase, and scrape the metrics of those processes that have some."""
    before = shop.product.cpu_seconds()
    await run(shop, count=plan.purchases, in_flight=plan.in_flight)
    if scrape:
        async with httpx.AsyncClient(trust_env=False) as client:
            for part in shop.product.stack.metrics:
                (await client.get(str(shop.product.stack.metrics_url(part)))).raise_for_status()
    after = shop.product.cpu_seconds()
    return {process: (after[process] - before[process]) * 1000 / plan.purchases for process in ALL}


def table(telemetry: Telemetry) -> Table:
    """One row for each stack."""
    result = Table("telemetry", "worker and API", "ratio", "and Temporal", "ratio", title="CPU ms per purchase")
    for name in telemetry.cpu:
        columns = [(telemetry.milliseconds(name, part), telemetry.ratio(name, part)) for part in (OURS, ALL)]
        result.add_row(name, *(text for cpu, ratio in columns for text in (f"{cpu:.1f}", f"{ratio:.3f}")))
    return result
