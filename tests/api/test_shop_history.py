"""GET /v1/reward-history"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import insert

from db.reward_history import committed_before
from db.tables import Redemption
from domain.redemptions import RedemptionStatus
from tests.api.support import error_of, ids_of, values_of
from tests.builders import a_customer, a_reward, a_shop
from tests.service import Service
from tests.shop import Shop

START = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
async def shop(without_temporal: Service) -> Shop:
    rewards = [a_reward("one"), a_reward("two")]
    return await without_temporal.open_shop(a_shop(a_customer(), a_customer(), rewards=rewards))


def entry_id(number: int) -> str:
    return f"cr_{number:020}"


async def add(shop: Shop, *numbers: int, **columns: Any) -> None:
    """Add redemptions; each is created a second after the one with the number before, to the microsecond."""
    usual: dict[str, Any] = {
        "shop_id": (await shop.row()).id,
        "customer_id": shop.customers[0],
        "reward_id": "one",
        "attempt": 1,
        "status": RedemptionStatus.ACTIVE,
        "deadline": START,
        "reward_name": "One",
        "discount_type": "free_shipping",
        "combines_with": [],
        "points_spent": 500,
    }
    rows = [
        {**usual, "id": entry_id(number), "created_at": START + timedelta(seconds=number, microseconds=345), **columns}
        for number in numbers
    ]
    async with shop.service.store.begin() as session:
        await session.execute(insert(Redemption), rows)


async def read_all(shop: Shop, query: str, *, between_pages: Any = None) -> list[str]:
    """The ids of all pages, by their links."""
    path, ids = f"/v1/reward-history?{query}", list[str]()
    while path is not None:
        page = await shop.get(path)
        ids += ids_of(page)
        path = page.json()["links"]["next"]
        if between_pages and path:
            await between_pages()
    return ids


@pytest.mark.parametrize("sort", ["created_at", "-created_at"])
async def test_pages_neither_repeat_nor_miss_entries(shop: Shop, sort: str) -> None:
    statuses = list(RedemptionStatus)
    for number in range(25):
        await add(shop, number, status=statuses[number % len(statuses)])
    # All at the same time, so that only ids order them.
    await add(shop, *range(30, 35), created_at=START + timedelta(minutes=1))
    expected = [entry_id(number) for number in (*range(25), *range(30, 35))]

    ids = await read_all(shop, f"page[size]=4&sort={sort}")

    assert ids == (expected if sort == "created_at" else expected[::-1])


async def test_entries_that_are_created_meanwhile_hide_no_others(shop: Shop) -> None:
    await add(shop, *range(10))
    newest = iter(range(100, 200))

    ids = await read_all(shop, "page[size]=3", between_pages=lambda: add(shop, next(newest)))

    assert ids == [entry_id(number) for number in range(9, -1, -1)]


async def test_entries_are_filtered(shop: Shop) -> None:
    jane, sam = shop.customers
    email = (await shop.customer(sam))["email"]
    await add(shop, 1, customer_id=sam)
    await add(shop, 2, reward_id="two")
    await add(shop, 3, status=RedemptionStatus.FAILED)
    await add(shop, 4, expires_at=datetime.now(UTC) - timedelta(minutes=1))
    await add(shop, 5, status=RedemptionStatus.EXPIRED)
    seconds = [quote((START + timedelta(seconds=number)).isoformat(timespec="seconds")) for number in range(8)]
    # What the response shows: the time of an entry in milliseconds.
    shown = values_of(await shop.get("/v1/reward-history?sort=created_at"), "created_at")

    for query, numbers in {
        "": [5, 4, 3, 2, 1],
        f"filter[customer]={sam}": [1],
        f"filter[customer]={email.upper()}": [1],
        f"filter[customer]={jane}&filter[reward_id]=one": [5, 4, 3],
        "filter[customer]=unknown@shopper.io": [],
        "filter[reward_id]=two": [2],
        "filter[reward_id]=unknown": [],
        "filter[status]=active": [2, 1],
        "filter[status]=expired": [5, 4],
        "filter[status]=failed": [3],
        "filter[status]=expired&filter[reward_id]=one&page[size]=1": [5, 4],
        f"filter[created_after]={seconds[3]}": [5, 4],
        f"filter[created_before]={seconds[3]}": [2, 1],
        f"filter[created_after]={shown[2]}": [5, 4],
        f"filter[created_before]={shown[2]}": [2, 1],
        f"filter[created_after]={seconds[2]}&filter[created_before]={seconds[5]}&page[size]=1": [4, 3],
    }.items():
        assert await read_all(shop, query) == [entry_id(number) for number in numbers], query


async def test_a_page_has_the_attributes_of_its_entries(shop: Shop) -> None:
    await add(shop, 1, 2)

    [listed] = (await shop.get("/v1/reward-history?page[size]=1")).json()["data"]

    assert listed == (await shop.get(f"/v1/reward-history/{listed['id']}")).json()["data"]


async def test_other_shops_entries_are_not_listed(without_temporal: Service, shop: Shop) -> None:
    await add(shop, 1)
    other = await without_temporal.open_shop(a_shop(a_customer()))

    for query in ("", f"filter[customer]={shop.customers[0]}", "filter[reward_id]=one"):
        assert await read_all(other, query) == []


@pytest.mark.parametrize(
    "query",
    ["page[size]=101", "page[size]=0", "page[after]=x", "filter[status]=lost", "filter[created_after]=1", "sort=id"],
)
async def test_invalid_parameters_are_refused_by_name(shop: Shop, query: str) -> None:
    answer = await shop.get(f"/v1/reward-history?{query}")

    assert (answer.status_code, error_of(answer)["source"]["parameter"]) == (400, query.partition("=")[0])


@asynccontextmanager
async def adding(shop: Shop, number: int) -> AsyncGenerator[None]:
    """A transaction on a connection of its own that adds a redemption, and is committed at the end of the block."""
    async with shop.service.store.begin() as session:
        row = await session.get_one(Redemption, entry_id(1))
        columns = {one.key: getattr(row, one.key) for one in Redemption.__table__.columns}
        times = {"created_at", "updated_at"}
        kept = {name: value for name, value in columns.items() if name not in times}
        # Each of another customer: those of one are added one after the other.
        new = {"id": entry_id(number), "customer_id": shop.customers[number % 2]}
        await session.execute(insert(Redemption).values(kept | new))
        yield


async def test_a_reader_in_step_misses_no_late_commit(shop: Shop) -> None:
    await add(shop, 1)
    query, read = "sort=created_at&page[size]=1", list[str]()
    async with adding(shop, 3):
        async with adding(shop, 2):
            pass
        # The second entry is committed, but the third one is earlier.
        read += await read_all(shop, query)
        assert await read_all(shop, "page[size]=1") == [entry_id(2), entry_id(1)]

    assert read == [entry_id(1)]
    [last] = values_of(await shop.get(f"/v1/reward-history?{query}"), "created_at")
    read += await read_all(shop, f"{query}&filter[created_after]={last}")
    assert read == [entry_id(1), entry_id(3), entry_id(2)]


async def test_the_end_of_a_reader_in_step_is_shown_exactly(shop: Shop) -> None:
    async with shop.service.store() as session:
        assert (await committed_before(session)).microsecond % 1000 == 0
