"""What grows with the number of lots, redemptions and purchases, and what a burst does to another shop."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from sqlalchemy import text

from benchmarks.load import Sample, Target, alternate, duration, run
from benchmarks.product import CAPPED, BenchShop, Product

CUSTOMERS = 1_000
IN_FLIGHT = 32

# Limits: how much more than the base is still fast enough.
LOTS_LIMIT = 1.3
REDEMPTIONS_LIMIT = 1.2
BURST_LIMIT = 2.0
MEMORY_LIMIT = 1.15

# Finished redemptions of the shop's customers, with codes and deliveries.
HISTORY = (
    # Without triggers, which would run per row.
    "SET LOCAL session_replication_role = replica",
    """INSERT INTO redemptions (id, shop_id, customer_id, reward_id, attempt, status, deadline, reward_name,
                                discount_type, discount_amount, combines_with, points_spent, captured_at, created_at)
       SELECT 'cr_' || n, s.id, (8000000000 + n % :customers)::text, :reward, 1, 'used', now(), '£5 off',
              'fixed_amount', 5, '[]', 500, now() - n * interval '1 second', now() - n * interval '1 second'
       FROM shops s, generate_series(CAST(:first AS bigint), :last) n WHERE s.domain = :domain""",
    """INSERT INTO discount_codes (shop_id, redemption_id, attempt, code, shopify_id, state, unknown_outcomes)
       SELECT s.id, 'cr_' || n, 1, 'OLD-' || n, 'gid://shopify/DiscountCodeNode/' || n, 'live', 1
       FROM shops s, generate_series(CAST(:first AS bigint), :last) n WHERE s.domain = :domain""",
    """INSERT INTO deliveries (redemption_id, channel, event, shop_id, status, attempts, sent_at)
       SELECT 'cr_' || n, channel, 'reward_redeemed', s.id, 'sent', 1, now()
       FROM shops s, generate_series(CAST(:first AS bigint), :last) n,
            unnest(ARRAY['klaviyo', 'omnisend', 'postscript', 'metafields']) channel WHERE s.domain = :domain""",
    """INSERT INTO history_counts SELECT shop_id, customer_id, 'redemptions', status, count(*) FROM redemptions
       WHERE status = 'used' GROUP BY 1, 2, 4
       ON CONFLICT (shop_id, customer_id, history, status) DO UPDATE SET entries = EXCLUDED.entries""",
)


@dataclass(frozen=True, kw_only=True)
class GrowthPlan:
    """Sizes, each from the base to the largest."""

    lots: tuple[int, ...] = (1, 100, 1_000)
    redemptions: tuple[int, ...] = (1_000, 1_000_000)
    burst: int = 500
    memory: tuple[int, ...] = (100, 1_000)
    """Purchases after which memory is measured."""
    samples: int = 150
    """Purchases per measurement."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A value, and the one that it grew from. `limit`: of the ratio, where there is one."""

    name: str
    unit: str
    base: float
    value: float
    limit: float | None = None

    @property
    def ratio(self) -> float:
        """How much the value has grown."""
        return self.value / self.base

    @property
    def is_too_large(self) -> bool:
        """Whether the ratio exceeds its limit."""
        return self.limit is not None and self.ratio > self.limit


async def measure(home: Path, plan: GrowthPlan, show: Callable[[str], None]) -> list[Growth]:
    """Measure everything, one after the other, on one stack. Memory is first, as it depends on what ran before."""
    async with Product.running(home) as product:
        steps = (_memory, _lots, _burst, _redemptions)
        return [one for step in steps for one in await step(product, plan, show)]


async def _memory(product: Product, plan: GrowthPlan, show: Callable[[str], None]) -> list[Growth]:
    shop = await product.open_shop("memory", customers=CUSTOMERS)
    measured: list[dict[str, float]] = []
    for purchases in plan.memory:
        show(f"growth: memory after {purchases:,} purchases")
        await run(shop, count=purchases - product.purchased, in_flight=IN_FLIGHT)
        measured.append(product.memory())
    return [
        Growth(
            name=f"memory of the {part}: {plan.memory[-1]:,} purchases, from {plan.memory[-2]:,}",
            unit="MiB",
            base=round(measured[-2][part], 1),
            value=round(measured[-1][part], 1),
            # Caches fill during the first thousand.
            limit=MEMORY_LIMIT if plan.memory[-2] >= 1_000 else None,
        )
        for part in measured[0]
    ]


async def _lots(product: Product, plan: GrowthPlan, show: Callable[[str], None]) -> list[Growth]:
    show("growth: lots")
    shops: dict[str, Target] = {}
    for lots in plan.lots:
        # Each purchase needs a lot's points, so that no customer runs out of them.
        shops[f"{lots:,}"] = shop = await product.open_shop(f"lots-{lots}", customers=20, lots=lots)
        await run(shop, count=10, in_flight=1)
    samples = await alternate(shops, rounds=10, count=plan.samples // 10)
    base, *others = samples
    return [
        _growth(f"lots per customer: {name}, from {base}", samples[base], samples[name], limit=LOTS_LIMIT)
        for name in others
    ]


async def _burst(product: Product, plan: GrowthPlan, show: Callable[[str], None]) -> list[Growth]:
    show(f"growth: another shop's burst of {plan.burst} purchases")
    quiet = await product.open_shop("quiet", customers=20)
    busy = await product.open_shop("busy", customers=plan.burst)
    alone = await run(quiet, count=plan.samples, in_flight=1)
    durations, answers = await _during_burst(quiet, busy, plan.burst)
    show(f"growth: the burst was answered with {dict(answers)}")
    beside = Sample(durations)
    name = f"p95 beside another shop's burst of {plan.burst}"
    return [_growth(name, alone, beside, limit=BURST_LIMIT, percent=95)]


async def _during_burst(quiet: BenchShop, busy: BenchShop, size: int) -> tuple[list[float], Counter[int]]:
    """Durations of the quiet shop's purchases, one at a time, until the burst is answered; and its statuses."""
    burst = asyncio.gather(*(busy.try_to_purchase() for _ in range(size)))
    durations: list[float] = []
    while not burst.done():
        # Without waiting for deliveries, which give way to the burst.
        durations.append(await duration(quiet))
    answers = Counter(answer.status_code for answer in await burst)
    await quiet.drain()
    return durations, answers


async def _redemptions(product: Product, plan: GrowthPlan, show: Callable[[str], None]) -> list[Growth]:
    shop = await product.open_shop("history", customers=CUSTOMERS)
    plain: list[Sample] = []
    capped: list[Sample] = []
    existing = 0
    for size in plan.redemptions:
        show(f"growth: {size:,} redemptions")
        await _add_history(product, shop, first=existing + 1, last=size)
        existing = size
        await run(shop, count=10, in_flight=1)
        plain.append(await run(shop, count=plan.samples, in_flight=1))
        capped.append(await run(_Capped(shop), count=plan.samples // 3, in_flight=1))
    sizes = f"{plan.redemptions[-1]:,}, from {plan.redemptions[0]:,}"
    return [
        _growth(f"redemptions in the table: {sizes}", plain[0], plain[-1], limit=REDEMPTIONS_LIMIT),
        _growth(f"redemptions of a capped reward: {sizes}", capped[0], capped[-1]),
    ]


@dataclass(frozen=True)
class _Capped:
    """Purchases of a reward with a cap, whose redemptions are counted."""

    shop: BenchShop

    async def purchase(self) -> None:
        (await self.shop.try_to_purchase(CAPPED)).raise_for_status()

    async def drain(self) -> None:
        await self.shop.drain()


async def _add_history(product: Product, shop: BenchShop, *, first: int, last: int) -> None:
    values = {"customers": CUSTOMERS, "reward": CAPPED, "first": first, "last": last, "domain": shop.domain}
    async with product.engine.begin() as connection:
        for statement in HISTORY:
            await connection.execute(text(statement), values)
    async with product.engine.connect() as connection:
        # Not left to autovacuum, which would run during the measurement.
        await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text("VACUUM ANALYZE"))


def _growth(name: str, base: Sample, value: Sample, *, limit: float | None = None, percent: float = 50) -> Growth:
    return Growth(
        name=name,
        unit="ms",
        base=round(base.percentile(percent), 1),
        value=round(value.percentile(percent), 1),
        limit=limit,
    )


def table(measured: list[Growth]) -> Table:
    """What has grown how much."""
    table = Table("", "base", "grown", "ratio", "limit", title="Growth")
    for one in measured:
        ratio = f"[bold red]{one.ratio:.2f}" if one.is_too_large else f"{one.ratio:.2f}"
        limit = "" if one.limit is None else str(one.limit)
        table.add_row(one.name, f"{one.base:.0f} {one.unit}", f"{one.value:.0f} {one.unit}", ratio, limit)
    return table
