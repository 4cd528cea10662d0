"""Rewards whose points the customer chooses, and limits per customer."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from db.tables import IdempotencyKey, Redemption
from tests.api.support import attributes_of, code_of, error_of, ids_of
from tests.builders import a_customer, a_lot, a_reward, a_shop, a_variable_reward
from tests.service import Service
from tests.shop import Shop


@pytest.fixture
async def flexible(service: Service) -> Shop:
    """£0.75 for each 50 points, from 100 to 500 points, and a fixed reward. The customer has 420 points."""
    reward = a_variable_reward(points_step=50, value_per_step="0.75", min_points=100, max_points=500)
    return await service.open_shop(a_shop(a_customer(a_lot(420)), rewards=[reward, a_reward("fixed", points_cost=100)]))


async def test_the_chosen_points_are_spent_and_refunded(flexible: Shop) -> None:
    answer = await flexible.purchase(points_to_spend=350)

    assert (answer.status_code, attributes_of(answer)["points_spent"]) == (201, 350)
    [discount] = await flexible.discounts()
    assert discount["asked"]["customerGets"]["value"]["discountAmount"]["amount"] == "5.25"
    assert await flexible.balance() == 70
    assert (await flexible.refund(answer.json()["data"]["id"])).json()["data"]["attributes"]["points_spent"] == 350
    assert await flexible.balance() == 420
    assert await flexible.service.audit() == []


@pytest.mark.parametrize(
    ("points", "code", "nearest"),
    [
        (120, "points_not_a_multiple", [100, 150]),
        (70, "points_not_a_multiple", [100]),
        (510, "points_not_a_multiple", [500]),
        (50, "below_minimum", [100]),
        (0, "below_minimum", [100]),
        (550, "above_maximum", [500]),
    ],
)
async def test_points_that_cannot_be_spent_name_the_nearest(
    flexible: Shop, points: int, code: str, nearest: list[int]
) -> None:
    purchase = await flexible.purchase(points_to_spend=points)
    quote = await flexible.quote(points_to_spend=points)

    for answer in (purchase, quote):
        assert code_of(answer) == (422, code)
        assert error_of(answer)["meta"] == {"retry": "new_key", "nearest": nearest}
    assert await flexible.balance() == 420


async def test_more_points_than_the_customer_has_are_insufficient(flexible: Shop) -> None:
    answer = await flexible.purchase(points_to_spend=500)

    assert error_of(answer)["detail"] == "Customer has 420 points but this reward costs 500"
    assert (await flexible.quote(points_to_spend=500)).json()["data"]["attributes"]["reasons"][0]["code"] == (
        "insufficient_points"
    )


@pytest.mark.parametrize(
    ("reward", "more", "code"),
    [
        ("reward_abc", {}, "points_to_spend_missing"),
        ("reward_abc", {"points_to_spend": None}, "points_to_spend_missing"),
        ("fixed", {"points_to_spend": 100}, "points_to_spend_not_allowed"),
        ("reward_abc", {"points_to_spend": "100"}, "invalid_request"),
        ("reward_abc", {"points_to_spend": ""}, "invalid_request"),
        ("reward_abc", {"points_to_spend": 100.5}, "invalid_request"),
        ("reward_abc", {"points_to_spend": True}, "invalid_request"),
        ("reward_abc", {"points_to_spend": -100}, "invalid_request"),
    ],
)
async def test_a_request_without_the_right_points_claims_no_key(
    flexible: Shop, reward: str, more: dict[str, Any], code: str
) -> None:
    answer = await flexible.purchase(reward=reward, key="k", **more)

    assert code_of(answer) == (400, code)
    async with flexible.service.store() as session:
        assert await session.get(IdempotencyKey, ((await flexible.row()).id, "k")) is None


async def test_the_points_belong_to_the_key(flexible: Shop) -> None:
    first = await flexible.purchase(points_to_spend=100, key="k")

    assert code_of(await flexible.purchase(points_to_spend=150, key="k")) == (422, "idempotency_key_reused")
    replayed = await flexible.purchase(points_to_spend=100, key="k")
    assert (replayed.content, replayed.headers["Idempotency-Replayed"]) == (first.content, "true")
    assert await flexible.balance() == 320


async def test_a_quote_without_points_has_the_ladder(flexible: Shop) -> None:
    quote = attributes_of(await flexible.quote())

    assert quote["ladder"] == {
        "first": 100,
        "last": 500,
        "step": 50,
        "count": 9,
        "best": 400,
        "value_per_step": 0.75,
    }
    assert (quote["redeemable"], quote["lots"], quote["balance_after"]) == (True, [], 420)
    chosen = attributes_of(await flexible.quote(points_to_spend=150))
    assert (chosen["discount_value"], chosen["balance_after"], chosen["lots"][0]["points"]) == (2.25, 270, 150)
    fixed = attributes_of(await flexible.quote(reward="fixed"))
    assert fixed.keys().isdisjoint({"ladder", "points_to_spend", "discount_value"})


async def test_a_ladder_without_maximum_ends_at_the_balance(service: Service) -> None:
    rich, poor = a_customer(a_lot(250)), a_customer(a_lot(50))
    shop = await service.open_shop(a_shop(rich, poor, rewards=[a_variable_reward()]))

    ladders = [attributes_of(await shop.quote(customer=customer))["ladder"] for customer in shop.customers]

    assert [(one["last"], one["count"], one["best"]) for one in ladders] == [(200, 2, 200), (None, 0, None)]


async def let_days_pass(shop: Shop, days: int) -> None:
    time = timedelta(days=days)
    mine = update(Redemption).where(Redemption.customer_id.in_(shop.customers))
    async with shop.service.store.begin() as session:
        await session.execute(mine.values(captured_at=Redemption.captured_at - time))


async def test_a_customer_waits_for_the_end_of_the_cooldown(service: Service) -> None:
    shop = await service.open_shop(
        a_shop(*(a_customer(a_lot(2_000)) for _ in range(2)), rewards=[a_reward(cooldown_days=7)])
    )
    before = datetime.now(UTC)
    assert (await shop.purchase()).status_code == 201

    refused = await shop.purchase()

    assert code_of(refused) == (422, "reward_limit_reached")
    available = datetime.fromisoformat(error_of(refused)["meta"]["available_at"]) - timedelta(days=7)
    assert timedelta() <= available - before < timedelta(minutes=1)
    assert (await shop.quote()).json()["data"]["attributes"]["reasons"][0]["code"] == "reward_limit_reached"
    assert (await shop.purchase(customer=shop.customers[1])).status_code == 201
    await let_days_pass(shop, 7)
    assert (await shop.purchase()).status_code == 201


async def test_a_limit_per_customer_holds_for_concurrent_purchases(service: Service) -> None:
    shop = await service.open_shop(
        a_shop(*(a_customer(a_lot(9_000)) for _ in range(2)), rewards=[a_reward(max_per_customer=2)])
    )

    answers = await asyncio.gather(*(shop.purchase(customer=one) for one in shop.customers * 4))

    assert sorted(answer.status_code for answer in answers) == [201] * 4 + [422] * 4
    refused = next(answer for answer in answers if answer.status_code == 422)
    assert error_of(refused)["meta"] == {"retry": "new_key"}
    assert [await shop.balance(one) for one in shop.customers] == [8_000, 8_000]


async def test_refunded_redemptions_do_not_count_towards_limits(service: Service) -> None:
    reward = a_reward(max_per_customer=1, cooldown_days=7)
    shop = await service.open_shop(a_shop(a_customer(a_lot(1_000)), rewards=[reward]))
    redemption = (await shop.purchase()).json()["data"]["id"]

    await shop.refund(redemption)

    assert (await shop.purchase()).status_code == 201


@pytest.mark.parametrize(("starts_in", "ends_in"), [(1, 2), (-2, -1)])
async def test_a_reward_outside_its_period_is_not_found(service: Service, starts_in: int, ends_in: int) -> None:
    now = datetime.now(UTC)
    period = {
        name: (now + timedelta(days=days)).isoformat()
        for name, days in (("starts_at", starts_in), ("ends_at", ends_in))
    }
    shop = await service.open_shop(a_shop(a_customer(a_lot(1_000)), rewards=[a_reward(**period)]))

    assert code_of(await shop.purchase()) == (404, "reward_not_found")
    assert code_of(await shop.quote()) == (404, "reward_not_found")
    assert ids_of(await shop.get(f"/v1/customers/{shop.customers[0]}/rewards")) == []
    assert attributes_of(await shop.get("/v1/rewards/reward_abc"))["is_active"]


async def test_a_reward_in_its_period_is_sold(service: Service) -> None:
    now = datetime.now(UTC)
    period = {"starts_at": now - timedelta(days=1), "ends_at": now + timedelta(days=1)}
    reward = a_reward(**{name: time.isoformat() for name, time in period.items()}, applies_to={"products": ["8"]})
    shop = await service.open_shop(a_shop(a_customer(a_lot(1_000)), rewards=[reward]))

    assert (await shop.purchase()).status_code == 201
    shown = attributes_of(await shop.get("/v1/rewards/reward_abc"))
    assert (shown["applies_to"], "pricing" in shown, "cooldown_days" in shown) == ({"products": ["8"]}, False, False)
    [discount] = await shop.discounts()
    assert discount["asked"]["customerGets"]["items"] == {"products": {"productsToAdd": ["gid://shopify/Product/8"]}}


async def test_a_reward_that_becomes_variable_replays_old_answers(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(1_000))))
    first = await shop.purchase(key="k")

    document = a_shop(rewards=[a_variable_reward()], domain=shop.domain)
    await service.import_shop({"domain": shop.domain, "rewards": document["rewards"]})

    assert (await shop.purchase(key="k")).content == first.content
    assert code_of(await shop.purchase(key="new")) == (400, "points_to_spend_missing")
