"""What telemetry costs: CPU time of a stack without it, and of stacks with metrics and traces, side by side."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
from rich.table import Table

from benchmarks.load import run
from benchmarks.product import BenchShop, Product

CUSTOMERS = 100
OFF = "off"


@dataclass(frozen=True, kw_only=True)
class TelemetryPlan:
    """Each stack purchases so often per round. `traced`: the shares of requests that are traced."""

    traced: tuple[float, ...] = (1.0, 0.1)
    rounds: int = 16
    purchases: int = 60
    in_flight: int = 8


@dataclass(frozen=True, kw_only=True)
class Telemetry:
    """CPU time per purchase of worker and API together, in milliseconds by round, and by what is on."""

    cpu: dict[str, list[float]]

    def ratio(self, name: str) -> float:
        """The median over the rounds of the CPU time with telemetry to that without it."""
        return median(on / off for on, off in zip(self.cpu[name], self.cpu[OFF], strict=True))

    def document(self) -> dict[str, object]:
        """The JSON document."""
        return {
            name: {"cpu_ms": round(median(rounds), 1), "ratio": round(self.ratio(name), 3)}
            for name, rounds in self.cpu.items()
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
        cpu: dict[str, list[float]] = {name: [] for name in shops}
        for number in range(plan.rounds):
            show(f"telemetry: round {number + 1} of {plan.rounds}")
            for name, shop in shops.items():
                cpu[name].append(await _cpu(shop, plan))
    return Telemetry(cpu=cpu)


async def _cpu(shop: BenchShop, plan: TelemetryPlan) -> float:
    """Purchase, then scrape the metrics once, which Prometheus does every 15 seconds."""
    before = shop.product.cpu_seconds()
    await run(shop, count=plan.purchases, in_flight=plan.in_flight)
    async with httpx.AsyncClient(trust_env=False) as client:
        for part in shop.product.stack.metrics:
            (await client.get(str(shop.product.stack.metrics_url(part)))).raise_for_status()
    after = shop.product.cpu_seconds()
    return sum(after[part] - before[part] for part in ("worker", "api")) * 1000 / plan.purchases


def table(telemetry: Telemetry) -> Table:
    """One row for each stack."""
    result = Table("telemetry", "CPU ms per purchase", "ratio", title="Worker and API, medians of the rounds")
    for name, rounds in telemetry.cpu.items():
        result.add_row(name, f"{median(rounds):.1f}", f"{telemetry.ratio(name):.3f}")
    return result
