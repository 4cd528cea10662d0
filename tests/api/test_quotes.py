"""Quotes, and the list of what a customer can redeem"""

import asyncio
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import func, select, update

from db.tables import Customer, IdempotencyKey, LedgerEntry, PointLot, Redemption, Reward
from tests.api.support import attributes_of, code_of, error_of, ids_of
from tests.builders import Json, a_customer, a_lot, a_reward, a_shop
from tests.service import Service
from tests.shop import Shop

TIERS = [{"id": "gold", "name": "Gold", "points_required": 1000}, {"id": "blue", "name": "Blue", "points_required": 0}]


async def quoted(shop: Shop, **purchase: Any) -> Json:
    return attributes_of(await shop.quote(**purchase))


def codes(attributes: Json) -> list[str]:
    return [reason["code"] for reason in attributes["reasons"]]


async def test_a_quote_predicts_lots_and_balance(service: Service) -> None:
    lots = [a_lot(200, days_old=9), a_lot(300, days_old=30, expires_in=timedelta(days=3)), a_lot(400, days_old=1)]
    lots[1]["source"] = "order #1001"
    shop = await service.open_shop(a_shop(a_customer(*lots)))

    quote = (await shop.quote()).json()["data"]
    await shop.purchase()

    assert (quote["type"], quote["id"]) == ("quote", "reward_abc")
    quoted = quote["attributes"]
    assert (quoted["customer_id"], quoted["points_cost"]) == (shop.customers[0], 500)
    assert (quoted["redeemable"], quoted["reasons"]) == (True, [])
    assert [(lot["source"], lot["points"], lot["expires_at"] is None) for lot in quoted["lots"]] == [
        *(("order #1001", 300, False), ("", 200, True)),
    ]
    assert (quoted["balance_before"], quoted["balance_after"]) == (900, await shop.balance())
    assert await shop.lots() == [0, 0, 400]


async def test_a_quote_has_every_reason(service: Service) -> None:
    reward = a_reward(vip_tier="gold", max_redemptions=1)
    poor, golden = a_customer(a_lot(200), excluded=True), a_customer(a_lot(500), vip_tier="gold")
    shop = await service.open_shop(a_shop(poor, golden, rewards=[reward], vip_tiers=TIERS))
    await shop.purchase(customer=shop.customers[1])

    quote = await quoted(shop)

    assert (quote["redeemable"], quote["lots"]) == (False, [])
    assert (quote["balance_before"], quote["balance_after"]) == (200, 200)
    assert quote["reasons"] == [
        {"code": "customer_excluded", "detail": "Customer is excluded from the loyalty program"},
        {"code": "vip_tier_required", "detail": "This reward is only available to customers on the Gold tier"},
        {"code": "insufficient_points", "detail": "Customer has 200 points but this reward costs 500"},
        {"code": "reward_sold_out", "detail": "The maximum number of redemptions is reached: 1"},
    ]


def a_random_shop(chance: Random) -> Json:
    def a_tier() -> str | None:
        return chance.choice([None, None, "gold", "blue"])

    def a_random_lot(days: int) -> Json:
        points, age = chance.choice([100, 250, 500]), chance.randint(1, 99)
        return a_lot(points, days_old=age, expires_in=timedelta(days=days))

    def a_random_customer() -> Json:
        lots = [a_random_lot(days) for days in chance.choices([-1, 30], [1, 3], k=chance.randint(0, 4))]
        return a_customer(*lots, excluded=chance.random() < 0.15, vip_tier=a_tier())

    def a_random_reward(number: int) -> Json:
        cost, maximum = chance.choice([100, 300, 500]), chance.choice([None, None, 1, 2])
        return a_reward(f"reward_{number}", points_cost=cost, vip_tier=a_tier(), max_redemptions=maximum)

    customers, rewards = [a_random_customer() for _ in range(6)], [a_random_reward(number) for number in range(4)]
    return a_shop(*customers, rewards=rewards, vip_tiers=TIERS, vendors=["shopify"])


@pytest.mark.parametrize("seed", [1, 2])
async def test_quotes_and_purchases_agree(service: Service, seed: int) -> None:
    chance = Random(seed)
    shop = await service.open_shop(a_random_shop(chance))

    for _ in range(10):
        reward, customer = f"reward_{chance.randrange(4)}", chance.choice(shop.customers)
        quote = await quoted(shop, reward=reward, customer=customer)
        answer = await shop.purchase(reward=reward, customer=customer)

        assert quote["redeemable"] is (answer.status_code == 201), answer.text
        if not quote["redeemable"]:
            error = error_of(answer)
            assert quote["reasons"][0] == {"code": error["code"], "detail": error["detail"]}
        assert quote["balance_after"] == await shop.balance(customer)


async def test_quotes_change_nothing_and_need_no_locks(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500)), rewards=[a_reward(max_redemptions=1)]))
    async with service.store.begin() as session:
        counts = [select(func.count()).select_from(table) for table in (LedgerEntry, Redemption, IdempotencyKey)]
        before = [await session.scalar(count) for count in counts]
        for table in (Customer, Reward, PointLot):
            await session.execute(select(table).with_for_update())
        async with asyncio.timeout(5):
            assert (await quoted(shop))["redeemable"]
            assert (await shop.get(f"/v1/customers/{shop.customers[0]}/rewards")).status_code == 200

        assert [await session.scalar(count) for count in counts] == before
    assert await shop.lots() == [500]


async def test_unknown_customers_and_rewards_are_not_found(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500), excluded=True)))
    other = await service.open_shop(a_shop(a_customer(a_lot(500)), rewards=[a_reward("reward_theirs")]))

    for purchase, code in (
        ({"customer": other.customers[0]}, "customer_not_found"),
        ({"reward": "reward_theirs"}, "reward_not_found"),
        ({"reward": "reward_theirs", "customer": "unknown@shopper.io"}, "customer_not_found"),
    ):
        assert code_of(await shop.quote(**purchase)) == (404, code)
    assert (await shop.get(f"/v1/customers/{other.customers[0]}/rewards")).status_code == 404


async def test_an_invalid_body_is_refused(shop: Shop) -> None:
    answer = await shop.send("POST", "/v1/rewards/reward_abc/quote", {}, api_key=shop.read_key)

    assert code_of(answer) == (400, "customer_identifier_missing")


async def test_customer_rewards_are_listed_with_reasons(
    service: Service,
) -> None:
    rewards = [
        a_reward("expensive", points_cost=1000),
        a_reward("modest", points_cost=500),
        a_reward("golden", points_cost=300, vip_tier="gold"),
        a_reward("rare", points_cost=200, max_redemptions=1),
        a_reward("inactive", points_cost=100, is_active=False),
        a_reward("deleted", points_cost=100),
    ]
    shop = await service.open_shop(a_shop(a_customer(a_lot(800)), rewards=rewards, vip_tiers=TIERS))
    async with service.store.begin() as session:
        await session.execute(update(Reward).where(Reward.id == "deleted").values(deleted_at=func.now()))
    await shop.purchase(reward="rare")

    answer = await shop.get(f"/v1/customers/Jane.{shop.customers[0]}@shopper.io/rewards")

    found = answer.json()["data"]
    assert answer.json()["meta"] == {"total": 4, "page": 1, "per_page": 20, "total_pages": 1}
    assert {reward["type"] for reward in found} == {"reward"}
    assert [(reward["id"], codes(reward["attributes"])) for reward in found] == [
        *(("rare", ["reward_sold_out"]), ("golden", ["vip_tier_required"]), ("modest", [])),
        ("expensive", ["insufficient_points"]),
    ]
    assert [reward["attributes"]["redeemable"] for reward in found] == [False, False, True, False]
    for reward in found:
        assert (await quoted(shop, reward=reward["id"]))["reasons"] == reward["attributes"]["reasons"]


async def test_customer_rewards_are_paged_and_sorted(service: Service) -> None:
    rewards = [a_reward(f"reward_{cost}", points_cost=cost) for cost in (300, 100, 200)]
    shop = await service.open_shop(a_shop(a_customer(a_lot(150)), rewards=rewards))
    path = f"/v1/customers/{shop.customers[0]}/rewards"

    answers = [await shop.get(f"{path}?page[size]=2&page[number]={number}") for number in (1, 2, 3)]
    most_expensive = await shop.get(f"{path}?sort=-points_cost&page[size]=1")

    assert [ids_of(answer) for answer in answers] == [["reward_100", "reward_200"], ["reward_300"], []]
    assert answers[1].json()["meta"] == {"total": 3, "page": 2, "per_page": 2, "total_pages": 2}
    assert [codes(one["attributes"]) for one in answers[0].json()["data"]] == [[], ["insufficient_points"]]
    assert ids_of(most_expensive) == ["reward_300"]
    for invalid in ("page[size]=101", "sort=name"):
        assert (await shop.get(f"{path}?{invalid}")).status_code == 400
