"""Purchases one at a time or in parallel, and their durations."""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Target(Protocol):
    """What is measured."""

    async def purchase(self) -> None:
        """Purchase, until the answer."""
        ...

    async def drain(self) -> None:
        """Wait until everything is delivered."""
        ...


@dataclass
class Sample:
    """Durations of purchases until their answers, in milliseconds, and the seconds until everything was delivered."""

    durations: list[float] = field(default_factory=list[float])
    seconds: float = 0

    def percentile(self, percent: float) -> float:
        """The duration that this share of the purchases does not exceed."""
        return percentile(self.durations, percent)

    @property
    def per_second(self) -> float:
        """Purchases per second, deliveries included."""
        return len(self.durations) / self.seconds


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that this share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


async def duration(target: Target) -> float:
    """Purchase once; returns the milliseconds until the answer."""
    began = time.perf_counter()
    await target.purchase()
    return (time.perf_counter() - began) * 1000


async def run(target: Target, *, count: int, in_flight: int) -> Sample:
    """Purchase `count` times with so many in flight, then wait for the deliveries."""
    durations: list[float] = []
    remaining = iter(range(count))

    async def lane() -> None:
        durations.extend([await duration(target) for _ in remaining])

    began = time.perf_counter()
    async with asyncio.TaskGroup() as lanes:
        for _ in range(min(in_flight, count)):
            lanes.create_task(lane())
    await target.drain()
    return Sample(durations, time.perf_counter() - began)


async def alternate(targets: Mapping[str, Target], *, rounds: int, count: int, in_flight: int = 1) -> dict[str, Sample]:
    """Run each target once per round, so that other load on the machine affects all of them."""
    samples = {name: Sample() for name in targets}
    for _ in range(rounds):
        for name, target in targets.items():
            sample = await run(target, count=count, in_flight=in_flight)
            samples[name].durations += sample.durations
            samples[name].seconds += sample.seconds
    return samples
