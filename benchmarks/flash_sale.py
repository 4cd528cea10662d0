"""A flash sale: queued purchases of a capped reward, as fast as they are accepted, served at Shopify's pace.

Shopify is the sandbox, with its leaky bucket.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from rich.table import Table
from sqlalchemy import text

from benchmarks.load import Sample
from benchmarks.product import CAPPED, BenchShop, Product
from domain.shopify_budget import CREATION_COST
from sandbox.shopify import BUCKET_SECONDS

ORDER_AHEAD, ORDER_BEHIND = timedelta(seconds=5), timedelta(seconds=1)
"""Seconds. No customer who came at least the first later is served more than the second earlier."""
RATE_LIMIT, QUIET_LIMIT = 0.95, 2.0

_ANY_PENDING = text("""
    SELECT EXISTS (
        SELECT FROM redemptions r JOIN shops s ON s.id = r.shop_id
        WHERE s.domain = :domain AND r.is_queued AND r.status = 'pending'
    )
""")

_DECISIONS = text("""
    SELECT r.id, r.status, r.created_at, r.captured_at FROM redemptions r JOIN shops s ON s.id = r.shop_id
    WHERE s.domain = :domain AND r.is_queued
""")


@dataclass(frozen=True, kw_only=True)
class FlashSalePlan:
    """Sizes. `rate`: codes per second that Shopify grants. `pause`: between two purchases of another shop.

    `quiet`: how many of them are measured before the sale, and after it. `workers`: processes. One for each processor,
    as docs/performance.md advises.
    """

    buyers: int = 2_040
    cap: int = 2_000
    rate: int = 10
    in_flight: int = 32
    quiet: int = 100
    pause: float = 0.3
    workers: int = 2


@dataclass(frozen=True, kw_only=True)
class FlashSale:
    """What was measured.

    Attributes:
        statuses: of the redemptions, once all were decided.
        accepted, served: seconds after the first request, of each redemption in order of arrival.
        overtaken: redemptions that were served too long after a later one.
        rate_used: share of what Shopify granted until the last code, its full bucket at the beginning included.
        quiet_alone, quiet_beside, quiet_after: p95 of another shop's synchronous purchases, in milliseconds. The last
            while the sale's metafields are written.
    """

    cap: int
    rate: int
    answers: dict[int, int]
    statuses: dict[str, int]
    accepted: list[float]
    served: list[float]
    overtaken: int
    rate_used: float
    quiet_alone: float
    quiet_beside: float
    quiet_after: float
    quiet_answers: dict[int, int]

    def exceeded(self) -> Iterator[str]:
        """What was promised and did not hold."""
        if self.statuses != {"active": self.cap}:
            yield f"flash sale: {self.statuses} instead of {self.cap} active"
        if self.overtaken:
            yield f"flash sale: {self.overtaken} were served after somebody who came much later"
        if self.rate_used < RATE_LIMIT:
            yield f"flash sale: only {self.rate_used:.0%} of Shopify's rate was used"
        if self.quiet_beside > QUIET_LIMIT * self.quiet_alone:
            yield "flash sale: another shop's p95"
        if self.quiet_after > QUIET_LIMIT * self.quiet_alone:
            yield "flash sale: another shop's p95 afterwards"

    def document(self) -> dict[str, object]:
        """The JSON document."""
        times = {"all_accepted": round(max(self.accepted), 1), "all_served": round(max(self.served), 1)}
        rest = {name: value for name, value in vars(self).items() if name not in ("accepted", "served")}
        return {**rest, **times}


async def measure(home: Path, plan: FlashSalePlan, show: Callable[[str], None]) -> FlashSale:
    """Measure one sale, and the purchases of another shop meanwhile."""
    async with Product.running(home, sandbox=True, workers=plan.workers) as product:
        quiet = await product.open_shop("quiet", customers=20)
        sale = await product.open_shop("sale", customers=plan.buyers, lots=1, cap=plan.cap)
        await _set_rate(product, sale, plan.rate)
        # The budget is known from Shopify's first answer.
        (await sale.try_to_purchase()).raise_for_status()
        show("flash sale: another shop alone")
        # The first purchases open the connections: they are not measured.
        for _ in range(plan.quiet):
            await _duration(quiet, plan, Counter())
        alone = await _durations(quiet, plan)
        show(f"flash sale: {plan.buyers:,} purchases, {plan.rate} codes a second")
        return await _sell(product, plan, quiet, sale, alone)


async def _sell(product: Product, plan: FlashSalePlan, quiet: BenchShop, sale: BenchShop, alone: Sample) -> FlashSale:
    began = datetime.now(UTC)
    buying = asyncio.create_task(_buy(sale, plan))
    beside, quiet_answers = Sample(), Counter[int]()
    while not buying.done() or await _any_pending(product, sale):
        beside.durations.append(await _duration(quiet, plan, quiet_answers))
    answers, after = await buying, await _durations(quiet, plan)
    rows = sorted(await _decisions(product, sale), key=lambda row: row.created_at)
    served = [row for row in rows if row.captured_at is not None]
    last = max(row.captured_at for row in served)
    full = plan.rate * BUCKET_SECONDS - 1
    return FlashSale(
        cap=plan.cap,
        rate=plan.rate,
        answers=dict(Counter(one.status_code for one in answers)),
        statuses=dict(Counter(row.status for row in rows)),
        accepted=[(row.created_at - began).total_seconds() for row in served],
        served=[(row.captured_at - began).total_seconds() for row in served],
        overtaken=_overtaken(served),
        rate_used=round(min(1, len(served) / (full + plan.rate * (last - began).total_seconds())), 3),
        quiet_alone=round(alone.percentile(95), 1),
        quiet_beside=round(beside.percentile(95), 1),
        quiet_after=round(after.percentile(95), 1),
        quiet_answers=dict(quiet_answers),
    )


async def _buy(sale: BenchShop, plan: FlashSalePlan) -> list[httpx.Response]:
    remaining, answers = iter(range(plan.buyers - 1)), list[httpx.Response]()

    async def lane() -> None:
        for _ in remaining:
            answers.append(await sale.try_to_purchase(CAPPED, queued=True))

    async with asyncio.TaskGroup() as lanes:
        for _ in range(plan.in_flight):
            lanes.create_task(lane())
    return answers


async def _durations(shop: BenchShop, plan: FlashSalePlan) -> Sample:
    return Sample([await _duration(shop, plan, Counter()) for _ in range(plan.quiet)])


async def _duration(shop: BenchShop, plan: FlashSalePlan, answers: Counter[int]) -> float:
    """Purchase, and pause. Returns the milliseconds until the answer."""
    began = time.perf_counter()
    answers[(await shop.try_to_purchase()).status_code] += 1
    duration = (time.perf_counter() - began) * 1000
    await asyncio.sleep(plan.pause)
    return duration


async def _set_rate(product: Product, shop: BenchShop, rate: int) -> None:
    path, settings = f"/_sandbox/shopify/shops/{shop.domain}", {"restore_rate": rate * CREATION_COST}
    (await product.vendors.put(path, json=settings)).raise_for_status()


async def _any_pending(product: Product, shop: BenchShop) -> bool:
    async with product.engine.connect() as connection:
        return (await connection.execute(_ANY_PENDING, {"domain": shop.domain})).scalar_one()


async def _decisions(product: Product, shop: BenchShop) -> Sequence[Any]:
    async with product.engine.connect() as connection:
        return (await connection.execute(_DECISIONS, {"domain": shop.domain})).all()


def _overtaken(served: Sequence[Any]) -> int:
    """Number of those that were served more than a second after one who came five seconds later, or more."""
    return sum(
        any(
            later.created_at >= one.created_at + ORDER_AHEAD and later.captured_at < one.captured_at - ORDER_BEHIND
            for later in served[number + 1 :]
        )
        for number, one in enumerate(served)
    )


def table(measured: FlashSale) -> Table:
    """What was measured."""
    table = Table("", "", title="Flash sale")
    table.add_row("answers", str(measured.answers))
    table.add_row("redemptions", str(measured.statuses))
    table.add_row("all accepted, all served", f"{max(measured.accepted):.0f} s, {max(measured.served):.0f} s")
    table.add_row("overtaken", str(measured.overtaken))
    table.add_row("Shopify's rate used", f"{measured.rate_used:.1%}")
    p95 = ", ".join(f"{one:.0f} ms" for one in (measured.quiet_alone, measured.quiet_beside, measured.quiet_after))
    table.add_row("another shop's p95: alone, meanwhile, afterwards", p95)
    table.add_row("its answers", str(measured.quiet_answers))
    return table
