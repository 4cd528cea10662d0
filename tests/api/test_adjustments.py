"""POST /v1/customers/{identifier}/points: points given and taken by hand."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from db.tables import ActivityLog
from tests.api.answers import error_of
from tests.builders import Json, a_customer, a_lot, a_reward, a_shop
from tests.service import Service
from tests.shop import Shop

TIERS = [
    {"id": "silver", "name": "Silver", "points_required": 500},
    {"id": "gold", "name": "Gold", "points_required": 1000},
]


@pytest.fixture
async def shop(service: Service) -> AsyncGenerator[Shop]:
    """A customer with 200 points in two lots; afterwards the books are right."""
    lots = [a_lot(150, days_old=30), a_lot(50, days_old=3)]
    yield await service.open_shop(a_shop(a_customer(*lots), a_customer(a_lot(10)), vip_tiers=TIERS))
    assert await service.audit() == []


async def points_of(shop: Shop) -> list[int]:
    """Current, lifetime and redeemed points."""
    attributes = await shop.customer()
    return [attributes[f"{kind}_points"] for kind in ("current", "lifetime", "redeemed")]


async def test_an_adjustment_is_answered_as_in_the_reference(shop: Shop) -> None:
    answer = await shop.adjust(500, note="Goodwill gesture after delayed order")

    [customer, _] = shop.customers
    assert answer.status_code == 200
    assert answer.json()["data"] == {
        "type": "points_adjustment",
        "id": customer,
        "attributes": {
            "shopify_customer_id": customer,
            "adjustment": 500,
            "points_before": 200,
            "points_after": 700,
            "current_points": 700,
            "note": "Goodwill gesture after delayed order",
        },
    }
    assert await points_of(shop) == [700, 700, 0]


async def test_given_points_can_be_spent_and_do_not_expire(shop: Shop) -> None:
    await shop.adjust(300)

    assert (await shop.purchase()).status_code == 201
    assert (await shop.lots(), (await shop.customer())["points_expire_at"]) == ([0, 0, 0], None)


async def test_taken_points_go_oldest_first(shop: Shop) -> None:
    answer = await shop.adjust(-160)

    assert answer.json()["data"]["attributes"]["points_after"] == 40
    assert (await shop.lots(), await points_of(shop)) == ([0, 40], [40, 40, 0])


async def test_no_more_is_taken_than_there_is(shop: Shop) -> None:
    attributes = (await shop.adjust(-1000)).json()["data"]["attributes"]

    assert [attributes[name] for name in ("adjustment", "points_before", "points_after")] == [-200, 200, 0]
    assert await points_of(shop) == [0, 0, 0]


async def test_where_there_is_nothing_to_take_nothing_is_written(shop: Shop) -> None:
    await shop.adjust(-200)

    attributes = (await shop.adjust(-1)).json()["data"]["attributes"]

    assert [attributes[name] for name in ("adjustment", "points_before", "points_after")] == [0, 0, 0]
    assert len(await history(shop)) == 3


async def test_points_that_expired_are_not_taken(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(90, expires_in=-timedelta(days=1)), a_lot(10))))

    assert (await shop.adjust(-50)).json()["data"]["attributes"]["adjustment"] == -10
    assert await shop.lots() == [90, 0]


async def history(shop: Shop) -> list[Json]:
    """The customer's earning history, newest first."""
    answer = await shop.get(f"/v1/customers/{shop.customers[0]}/earning-history")
    return [entry["attributes"] for entry in answer.json()["data"]]


async def test_it_stands_in_the_earning_history_and_the_activity_log(service: Service, shop: Shop) -> None:
    await shop.adjust(-20, note="Returned the gift")

    entry = (await history(shop))[0]
    assert (entry["action"], entry["points"], entry["manual_intervention"]) == ("adjustment", -20, True)
    query = select(ActivityLog).where(ActivityLog.customer_id == shop.customers[0])
    async with service.store() as session:
        [logged] = await session.scalars(query)
    assert logged.kind == "points_adjusted"
    assert (logged.facts["points"], logged.facts["note"]) == (-20, "Returned the gift")


async def test_the_shops_theme_is_told_of_adjustments_and_updates(service: Service) -> None:
    for change in (("POST", "/points", {"adjustment": 5}), ("PUT", "", {"is_excluded": True})):
        shop = await service.open_shop(a_shop(a_customer(a_lot(10))))
        method, path, body = change
        await shop.send(method, f"/v1/customers/{shop.customers[0]}{path}", body)

        assert await shop.stale_customers() == {*shop.customers}


async def test_the_lifetime_points_can_be_left_alone(shop: Shop) -> None:
    await shop.adjust(1000, update_lifetime_points=False)
    assert (await points_of(shop), (await shop.customer())["vip_tier"]) == ([1200, 200, 0], None)

    await shop.adjust(-100, update_lifetime_points=False)
    assert await points_of(shop) == [1100, 200, 0]

    # More than ever counted as earned.
    await shop.adjust(-600)
    assert await points_of(shop) == [500, 0, 0]


async def tier(shop: Shop) -> str | None:
    """The customer's tier."""
    found = (await shop.customer())["vip_tier"]
    return found and found["id"]


async def test_the_tier_follows_the_lifetime_points_up_and_down(shop: Shop) -> None:
    seen: list[str | None] = []
    for points in (299, 1, 500, -1, -600):
        await shop.adjust(points)
        seen.append(await tier(shop))

    assert seen == [None, "silver", "gold", "silver", None]


async def test_a_tier_that_was_given_stays_until_points_earn_a_higher_one(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(100), vip_tier="silver"), vip_tiers=TIERS))
    seen: list[str | None] = []
    for points in (-50, 500, 500):
        await shop.adjust(points)
        seen.append(await tier(shop))

    assert seen == ["silver", "silver", "gold"]


async def test_an_excluded_customer_is_not_adjusted(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(100), excluded=True)))

    answer = await shop.adjust(100, key="once")

    assert (answer.status_code, error_of(answer)["code"]) == (403, "customer_excluded")
    assert await points_of(shop) == [100, 100, 0]
    await shop.send("PUT", f"/v1/customers/{shop.customers[0]}", {"is_excluded": False})
    assert (await shop.adjust(100, key="once")).status_code == 200


async def test_what_is_no_number_of_points_is_refused(shop: Shop) -> None:
    for points in (0, 1.5, "5", True, None, 10**12):
        answer = await shop.send("POST", f"/v1/customers/{shop.customers[0]}/points", {"adjustment": points})
        assert (answer.status_code, error_of(answer)["source"]) == (400, {"pointer": "/adjustment"})
    answer = await shop.send("POST", f"/v1/customers/{shop.customers[0]}/points", {})
    assert (answer.status_code, error_of(answer)["source"]) == (400, {"pointer": "/adjustment"})
    assert await points_of(shop) == [200, 200, 0]


async def test_what_comes_beside_the_points_is_checked_too(shop: Shop) -> None:
    bad: list[Json] = [{"note": 7}, {"note": "a\x00b"}, {"update_lifetime_points": "no"}, {"send_email": 1}]
    for more in bad:
        answer = await shop.adjust(5, **more)
        assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_request")
    assert await points_of(shop) == [200, 200, 0]


async def test_an_unknown_customer_is_told_by_name(service: Service, shop: Shop) -> None:
    other = await service.open_shop(a_shop(a_customer(a_lot(5))))
    for unknown in ("1", other.customers[0], "nobody@shopper.io"):
        answer = await shop.send("POST", f"/v1/customers/{unknown}/points", {"adjustment": 5})
        assert (answer.status_code, error_of(answer)["code"]) == (404, "customer_not_found")
    assert await other.balance() == 5


async def test_a_repeated_key_adjusts_once_and_answers_the_same(shop: Shop) -> None:
    first = await shop.adjust(100, key="thanks")

    again = await shop.adjust(100, key="thanks")

    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert await points_of(shop) == [300, 300, 0]


async def test_two_requests_at_once_with_one_key_adjust_once(shop: Shop) -> None:
    answers = await asyncio.gather(*(shop.adjust(100, key="twice") for _ in range(6)))

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert await points_of(shop) == [300, 300, 0]


async def test_a_client_without_a_key_is_given_one_to_repeat_with(shop: Shop) -> None:
    first = await shop.adjust(100)

    again = await shop.adjust(100, key=first.headers["idempotency-key"])

    assert again.content == first.content
    assert await shop.balance() == 300


async def test_a_key_that_stands_for_something_else_is_refused(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(1200))))
    await shop.adjust(100, key="adjusted")
    await shop.purchase(key="bought")

    for answer in (
        await shop.adjust(101, key="adjusted"),
        await shop.adjust(100, key="adjusted", note="more"),
        await shop.adjust(100, key="bought"),
        await shop.purchase(key="adjusted"),
    ):
        assert (answer.status_code, error_of(answer)["code"]) == (422, "idempotency_key_reused")
    assert await shop.balance() == 800


async def test_an_adjustment_that_races_purchases_loses_no_point_and_makes_none(service: Service) -> None:
    shop = await service.open_shop(
        a_shop(a_customer(*(a_lot(50) for _ in range(12))), rewards=[a_reward(points_cost=100)])
    )

    calls: list[Any] = [shop.purchase() for _ in range(4)] + [shop.adjust(points) for points in (-150, 70, -1000, 30)]
    answers = await asyncio.gather(*calls)

    bought = sum(100 for answer in answers[:4] if answer.status_code == 201)
    adjusted = sum(answer.json()["data"]["attributes"]["adjustment"] for answer in answers[4:])
    assert {answer.status_code for answer in answers} <= {200, 201, 422}
    assert await shop.balance() == 600 - bought + adjusted
    assert sum(await shop.lots()) == await shop.balance()
    assert min(answer.json()["data"]["attributes"]["points_after"] for answer in answers[4:]) >= 0
    assert await service.audit() == []
