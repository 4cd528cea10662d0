"""POST /v1/customers/{identifier}/points"""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.api.support import attributes_of, code_of, error_of
from tests.builders import Json, a_customer, a_lot, a_reward, a_shop
from tests.service import Service
from tests.shop import Shop

TIERS = [
    {"id": "silver", "name": "Silver", "points_required": 500},
    {"id": "gold", "name": "Gold", "points_required": 1000},
]


@pytest.fixture
async def shop(service: Service) -> AsyncGenerator[Shop]:
    """A customer with 200 points in two lots. Afterwards the ledger is audited."""
    lots = [a_lot(150, days_old=30), a_lot(50, days_old=3)]
    yield await service.open_shop(a_shop(a_customer(*lots), a_customer(a_lot(10)), vip_tiers=TIERS))
    assert await service.audit() == []


async def points_of(shop: Shop) -> list[int]:
    """Current, lifetime and redeemed points."""
    attributes = await shop.customer()
    return [attributes[f"{kind}_points"] for kind in ("current", "lifetime", "redeemed")]


async def tiers_after(shop: Shop, *adjustments: int) -> list[str | None]:
    """The customer's tier after each adjustment."""
    tiers: list[str | None] = []
    for points in adjustments:
        await shop.adjust(points)
        tier = (await shop.customer())["vip_tier"]
        tiers.append(tier and tier["id"])
    return tiers


def result_of(answer: httpx.Response) -> list[int]:
    """Adjusted points, points before and after."""
    return [attributes_of(answer)[name] for name in ("adjustment", "points_before", "points_after")]


async def history(shop: Shop) -> list[Json]:
    """The customer's earning history, newest first."""
    answer = await shop.get(f"/v1/customers/{shop.customers[0]}/earning-history")
    return [entry["attributes"] for entry in answer.json()["data"]]


async def test_an_adjustment_has_the_reference_shape(shop: Shop) -> None:
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


async def test_added_points_are_spendable_and_do_not_expire(shop: Shop) -> None:
    await shop.adjust(300)

    assert (await shop.purchase()).status_code == 201
    assert (await shop.lots(), (await shop.customer())["points_expire_at"]) == ([0, 0, 0], None)


async def test_the_oldest_points_are_deducted_first(shop: Shop) -> None:
    answer = await shop.adjust(-160)

    assert attributes_of(answer)["points_after"] == 40
    assert (await shop.lots(), await points_of(shop)) == ([0, 40], [40, 40, 0])


async def test_a_deduction_stops_at_zero(shop: Shop) -> None:
    assert result_of(await shop.adjust(-1000)) == [-200, 200, 0]
    assert await points_of(shop) == [0, 0, 0]


async def test_a_deduction_of_nothing_writes_nothing(shop: Shop) -> None:
    await shop.adjust(-200)

    assert result_of(await shop.adjust(-1)) == [0, 0, 0]
    assert len(await history(shop)) == 3


async def test_expired_points_are_not_deducted(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(90, expires_in=-timedelta(days=1)), a_lot(10))))

    assert result_of(await shop.adjust(-50))[0] == -10
    assert await shop.lots() == [90, 0]


async def test_adjustments_are_in_history_and_activity_log(shop: Shop) -> None:
    await shop.adjust(-20, note="Returned the gift")

    entry = (await history(shop))[0]
    assert (entry["action"], entry["points"], entry["manual_intervention"]) == ("adjustment", -20, True)
    [logged] = await shop.activity_log()
    assert (logged.kind, logged.facts["points"], logged.facts["note"]) == ("points_adjusted", -20, "Returned the gift")


@pytest.mark.parametrize(
    ("method", "path", "body"), [("POST", "/points", {"adjustment": 5}), ("PUT", "", {"is_excluded": True})]
)
async def test_changes_make_the_metafield_stale(shop: Shop, method: str, path: str, body: Json) -> None:
    await shop.send(method, f"/v1/customers/{shop.customers[0]}{path}", body)

    assert await shop.stale_customers() == {shop.customers[0]}


async def test_lifetime_points_can_stay_unchanged(shop: Shop) -> None:
    await shop.adjust(1000, update_lifetime_points=False)
    assert (await points_of(shop), (await shop.customer())["vip_tier"]) == ([1200, 200, 0], None)

    await shop.adjust(-100, update_lifetime_points=False)
    assert await points_of(shop) == [1100, 200, 0]

    # More than the lifetime points.
    await shop.adjust(-600)
    assert await points_of(shop) == [500, 0, 0]


async def test_the_tier_follows_lifetime_points(shop: Shop) -> None:
    assert await tiers_after(shop, 299, 1, 500, -1, -600) == [None, "silver", "gold", "silver", None]


async def test_an_assigned_tier_stays_until_a_higher_one(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(100), vip_tier="silver"), vip_tiers=TIERS))

    assert await tiers_after(shop, -50, 500, 500) == ["silver", "silver", "gold"]


async def test_an_excluded_customer_is_not_adjusted(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(100), excluded=True)))

    assert code_of(await shop.adjust(100, key="once")) == (403, "customer_excluded")

    assert await points_of(shop) == [100, 100, 0]
    await shop.send("PUT", f"/v1/customers/{shop.customers[0]}", {"is_excluded": False})
    assert (await shop.adjust(100, key="once")).status_code == 200


async def test_invalid_adjustments_are_refused(shop: Shop) -> None:
    for body in [{"adjustment": points} for points in (0, 1.5, "5", True, None, 10**12)] + [{}]:
        answer = await shop.send("POST", f"/v1/customers/{shop.customers[0]}/points", body)
        assert (answer.status_code, error_of(answer)["source"]) == (400, {"pointer": "/adjustment"})
    assert await points_of(shop) == [200, 200, 0]


async def test_other_fields_are_validated(shop: Shop) -> None:
    invalid: list[Json] = [{"note": 7}, {"note": "a\x00b"}, {"update_lifetime_points": "no"}, {"send_email": 1}]
    for fields in invalid:
        assert code_of(await shop.adjust(5, **fields)) == (400, "invalid_request")
    assert await points_of(shop) == [200, 200, 0]


async def test_an_unknown_customer_is_not_found(service: Service, shop: Shop) -> None:
    other = await service.open_shop(a_shop(a_customer(a_lot(5))))
    for unknown in ("1", other.customers[0], "unknown@shopper.io"):
        answer = await shop.send("POST", f"/v1/customers/{unknown}/points", {"adjustment": 5})
        assert code_of(answer) == (404, "customer_not_found")
    assert await other.balance() == 5


async def test_a_repeated_key_adjusts_once(shop: Shop) -> None:
    first = await shop.adjust(100, key="thanks")

    again = await shop.adjust(100, key="thanks")

    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert await points_of(shop) == [300, 300, 0]


async def test_concurrent_requests_with_one_key_adjust_once(shop: Shop) -> None:
    answers = await asyncio.gather(*(shop.adjust(100, key="twice") for _ in range(6)))

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert await points_of(shop) == [300, 300, 0]


async def test_a_generated_key_can_be_repeated(shop: Shop) -> None:
    first = await shop.adjust(100)

    again = await shop.adjust(100, key=first.headers["idempotency-key"])

    assert again.content == first.content
    assert await shop.balance() == 300


async def test_a_reused_key_is_refused(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(1200))))
    await shop.adjust(100, key="adjusted")
    await shop.purchase(key="purchased")

    for answer in (
        await shop.adjust(101, key="adjusted"),
        await shop.adjust(100, key="adjusted", note="more"),
        await shop.adjust(100, key="purchased"),
        await shop.purchase(key="adjusted"),
    ):
        assert code_of(answer) == (422, "idempotency_key_reused")
    assert await shop.balance() == 800


async def test_concurrent_adjustments_and_purchases_keep_the_balance(service: Service) -> None:
    lots = [a_lot(50) for _ in range(12)]
    shop = await service.open_shop(a_shop(a_customer(*lots), rewards=[a_reward(points_cost=100)]))

    calls: list[Any] = [shop.purchase() for _ in range(4)] + [shop.adjust(points) for points in (-150, 70, -1000, 30)]
    answers = await asyncio.gather(*calls)

    spent = sum(100 for answer in answers[:4] if answer.status_code == 201)
    results = [result_of(answer) for answer in answers[4:]]
    assert {answer.status_code for answer in answers} <= {200, 201, 422}
    assert sum(await shop.lots()) == await shop.balance() == 600 - spent + sum(moved for moved, *_ in results)
    assert min(after for *_, after in results) >= 0
    assert await service.audit() == []
