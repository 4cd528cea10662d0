"""Duration of a page of each list in a large shop, relative to the first page in a small one."""

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

import httpx
from cryptography.fernet import Fernet
from rich.table import Table

from api.app import create_app
from benchmarks.data import BIG_CUSTOMER, KEY, Sizes, fill
from database import connect
from local_stack.options import StackOptions
from local_stack.stack import LocalStack
from settings import Settings

DEEP_PAGE = 500
WARM_UP = 8
"""Requests before the measurement: PostgreSQL plans the first five executions of a prepared statement separately."""


@dataclass(frozen=True)
class List:
    """One order of one list. `matches_all`: counts all customers, so its time grows with the shop; has no limit."""

    name: str
    path: str
    matches_all: bool = False


CUSTOMERS = "/v1/customers"
EARNINGS = f"/v1/customers/{BIG_CUSTOMER}/earning-history"
REDEMPTIONS = f"/v1/customers/{BIG_CUSTOMER}/reward-history"
LISTS = (
    List("customers, newest", f"{CUSTOMERS}?sort=-created_at"),
    List("customers, most points", f"{CUSTOMERS}?sort=-points"),
    List("customers, most lifetime points", f"{CUSTOMERS}?sort=-lifetime_points"),
    List("customers, fewest redeemed points", f"{CUSTOMERS}?sort=redeemed_points"),
    List("customers who are members", f"{CUSTOMERS}?filter[loyalty_status]=member"),
    List("customers by a part of their e-mail", f"{CUSTOMERS}?filter[email]=R42@"),
    List("customers by a part that all have", f"{CUSTOMERS}?filter[email]=MEMBER", matches_all=True),
    List("earning history, newest", f"{EARNINGS}?sort=-created_at"),
    List("earning history, most points", f"{EARNINGS}?sort=-points"),
    List("earning history, approved", f"{EARNINGS}?filter[status]=approved"),
    List("reward history, newest", f"{REDEMPTIONS}?sort=-created_at"),
    List("reward history, most points", f"{REDEMPTIONS}?sort=-points_spent"),
    List("reward history, used", f"{REDEMPTIONS}?filter[status]=used"),
    List("a customer's rewards, cheapest", f"{CUSTOMERS}/{BIG_CUSTOMER}/rewards?sort=points_cost"),
    List("rewards, dearest", "/v1/rewards?sort=-points_cost"),
    List("VIP tiers", "/v1/vip-tiers"),
)


@dataclass
class Timing:
    """Durations of the requests, in milliseconds."""

    small: list[float] = field(default_factory=list[float])
    first: list[float] = field(default_factory=list[float])
    deep: list[float] = field(default_factory=list[float])

    @property
    def ratios(self) -> tuple[float, float]:
        """The large shop's first and deep page, relative to the small shop's first."""
        return typical(self.first) / typical(self.small), typical(self.deep) / typical(self.small)


def typical(durations: list[float]) -> float:
    """The lower quartile, because other load on the machine only adds time."""
    return quantiles(durations, n=4)[0]


@asynccontextmanager
async def running_shop(sizes: Sizes, home: Path) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the API, which runs in this process on its own PostgreSQL server with a shop of this size."""
    async with AsyncExitStack() as exits:
        stack = await exits.enter_async_context(LocalStack(StackOptions(data_dir=home, parts=["postgres"])))
        settings = Settings.model_validate(
            {
                "database_url": stack.database_url,
                "encryption_keys": Fernet.generate_key().decode(),
                "log_level": "WARNING",
                "rate_limit": "1000000/second",
            }
        )
        engine = connect(settings.database_url, statement_timeout=None)
        exits.push_async_callback(engine.dispose)
        await fill(engine, sizes)
        app = create_app(settings)
        await exits.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app)
        headers = {"Authorization": KEY}
        yield await exits.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://bench", headers=headers, timeout=60)
        )


async def measure(small: httpx.AsyncClient, large: httpx.AsyncClient, *, rounds: int) -> dict[List, Timing]:
    """Time both shops alternately, so that other load on the machine affects both."""
    timings: dict[List, Timing] = {}
    for one in LISTS:
        timing = timings[one] = Timing()
        deep = await _deep_page(large, one.path)
        for number in range(WARM_UP + rounds):
            durations = (await _time(small, one.path), await _time(large, one.path), await _time(large, deep))
            if number >= WARM_UP:
                timing.small.append(durations[0])
                timing.first.append(durations[1])
                timing.deep.append(durations[2])
    return timings


async def _deep_page(client: httpx.AsyncClient, path: str) -> str:
    document = (await client.get(path)).raise_for_status().json()
    if "meta" not in document:
        return path
    number = min(DEEP_PAGE, document["meta"]["total_pages"])
    return f"{path}&page[number]={number}"


async def _time(client: httpx.AsyncClient, path: str) -> float:
    began = time.perf_counter()
    response = await client.get(path)
    duration = (time.perf_counter() - began) * 1000
    assert response.raise_for_status().json()["data"], path
    return duration


def report(timings: dict[List, Timing]) -> Table:
    """A table of the lower quartiles and their ratios."""
    table = Table("list", "small shop", "first page", "ratio", f"page {DEEP_PAGE}", "ratio")
    for one, timing in timings.items():
        first, deep = timing.ratios
        small = f"{typical(timing.small):.1f} ms"
        pages = (f"{typical(timing.first):.1f} ms", f"{first:.2f}", f"{typical(timing.deep):.1f} ms", f"{deep:.2f}")
        table.add_row(one.name, small, *pages)
    return table
