"""Duration and rate of purchases, relative to the floor."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.table import Table

from benchmarks.floor import Floor
from benchmarks.load import Sample, Target, alternate, run
from benchmarks.product import Product

CUSTOMERS = 200
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, kw_only=True)
class LatencyPlan:
    """Delays of Shopify in milliseconds, and purchases per round by the number in flight."""

    delays: tuple[int, ...] = (0, 150)
    counts: tuple[tuple[int, int], ...] = ((1, 40), (8, 96), (32, 192))
    rounds: int = 3


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Milliseconds until the answer, and purchases per second to the last delivery."""

    p50: float
    p95: float
    p99: float
    per_second: float

    @classmethod
    def of(cls, sample: Sample) -> Self:
        p50, p95, p99 = (round(sample.percentile(one), 1) for one in PERCENTILES)
        return cls(p50=p50, p95=p95, p99=p99, per_second=round(sample.per_second, 1))


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Product and floor, with Shopify's delay in milliseconds and the number of purchases in flight."""

    delay: int
    in_flight: int
    product: Speed
    floor: Speed


async def measure(home: Path, plan: LatencyPlan, show: Callable[[str], None]) -> list[Latency]:
    """Measure product and floor in turns."""
    async with Product.running(home) as product, Floor.running(product) as floor:
        shop = await product.open_shop("latency", customers=CUSTOMERS)
        targets: dict[str, Target] = {"product": shop, "floor": floor}
        for target in targets.values():
            await run(target, count=20, in_flight=4)
        measured: list[Latency] = []
        for delay in plan.delays:
            await product.set_delay(delay)
            floor.delay = delay / 1000
            for in_flight, count in plan.counts:
                show(f"latency: Shopify takes {delay} ms, {in_flight} in flight")
                samples = await alternate(targets, rounds=plan.rounds, count=count, in_flight=in_flight)
                speeds = {name: Speed.of(sample) for name, sample in samples.items()}
                measured.append(Latency(delay=delay, in_flight=in_flight, **speeds))
        return measured


def table(measured: list[Latency]) -> Table:
    """The durations with their ratios to the floor."""
    table = Table("Shopify", "in flight", "p50", "p95", "p99", "per second", "p99 ÷ p50", title="Latency (÷ floor)")
    for one in measured:
        product, floor = one.product, one.floor
        table.add_row(
            f"{one.delay} ms",
            str(one.in_flight),
            *(
                f"{getattr(product, name):.0f} ms ({getattr(product, name) / getattr(floor, name):.2f})"
                for name in ("p50", "p95", "p99")
            ),
            f"{product.per_second:.1f} ({product.per_second / floor.per_second:.2f})",
            f"{product.p99 / product.p50:.1f}",
        )
    return table
