"""A quote says what the purchase then does; a customer's rewards say it of all of them."""

import asyncio
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import func, select, update

from db.tables import Customer, IdempotencyKey, LedgerEntry, PointLot, Redemption, Reward
from tests.api.answers import ids_of
from tests.builders import Json, a_customer, a_lot, a_reward, a_shop
from tests.service import Service
from tests.shop import Shop

TIERS = [{"id": "gold", "name": "Gold", "points_required": 1000}, {"id": "blue", "name": "Blue", "points_required": 0}]


async def quoted(shop: Shop, **asked: Any) -> Json:
    """The attributes of a quote."""
    answer = await shop.quote(**asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["attributes"]


def codes(attributes: Json) -> list[str]:
    return [reason["code"] for reason in attributes["reasons"]]


async def test_a_quote_tells_the_price_the_lots_and_the_balance_that_the_purchase_then_leaves(service: Service) -> None:
    lots = [a_lot(200, days_old=9), a_lot(300, days_old=30, expires_in=timedelta(days=3)), a_lot(400, days_old=1)]
    lots[1]["source"] = "order #1001"
    shop = await service.open_shop(a_shop(a_customer(*lots)))

    quote = (await shop.quote()).json()["data"]
    await shop.purchase()

    assert (quote["type"], quote["id"]) == ("quote", "reward_abc")
    said = quote["attributes"]
    assert (said["customer_id"], said["points_cost"], said["redeemable"], said["reasons"]) == (
        *(shop.customers[0], 500, True, []),
    )
    assert [(lot["source"], lot["points"], lot["expires_at"] is None) for lot in said["lots"]] == [
        *(("order #1001", 300, False), ("", 200, True)),
    ]
    assert (said["balance_before"], said["balance_after"]) == (900, await shop.balance())
    assert await shop.lots() == [0, 0, 400]


async def test_every_reason_is_told_at_once_in_the_words_of_the_purchase(service: Service) -> None:
    reward = a_reward(vip_tier="gold", max_redemptions=1)
    poor, golden = a_customer(a_lot(200), excluded=True), a_customer(a_lot(500), vip_tier="gold")
    shop = await service.open_shop(a_shop(poor, golden, rewards=[reward], vip_tiers=TIERS))
    await shop.purchase(customer=shop.customers[1])

    said = await quoted(shop)

    assert (said["redeemable"], said["lots"]) == (False, [])
    assert (said["balance_before"], said["balance_after"]) == (200, 200)
    assert said["reasons"] == [
        {"code": "customer_excluded", "detail": "Customer is excluded from the loyalty program"},
        {"code": "vip_tier_required", "detail": "This reward is only available to customers on the Gold tier"},
        {"code": "insufficient_points", "detail": "Customer has 200 points but this reward costs 500"},
        {"code": "reward_sold_out", "detail": "This reward has been redeemed 1 times, its maximum"},
    ]


def a_random_shop(chance: Random) -> Json:
    def a_tier() -> str | None:
        return chance.choice([None, None, "gold", "blue"])

    customers = [
        a_customer(
            *(
                a_lot(chance.choice([100, 250, 500]), days_old=chance.randint(1, 99), expires_in=timedelta(days=expiry))
                for expiry in chance.choices([-1, 30], [1, 3], k=chance.randint(0, 4))
            ),
            excluded=chance.random() < 0.15,
            vip_tier=a_tier(),
        )
        for _ in range(6)
    ]
    rewards = [
        a_reward(
            f"reward_{number}",
            points_cost=chance.choice([100, 300, 500]),
            vip_tier=a_tier(),
            max_redemptions=chance.choice([None, None, 1, 2]),
        )
        for number in range(4)
    ]
    return a_shop(*customers, rewards=rewards, vip_tiers=TIERS, vendors=["shopify"])


@pytest.mark.parametrize("seed", [1, 2])
async def test_whoever_is_quoted_yes_can_buy_and_whoever_is_quoted_no_hears_the_first_reason(
    service: Service, seed: int
) -> None:
    chance = Random(seed)
    shop = await service.open_shop(a_random_shop(chance))

    for _ in range(10):
        reward, customer = f"reward_{chance.randrange(4)}", chance.choice(shop.customers)
        said = await quoted(shop, reward=reward, customer=customer)
        answer = await shop.purchase(reward=reward, customer=customer)

        assert said["redeemable"] is (answer.status_code == 201), answer.text
        if not said["redeemable"]:
            [error] = answer.json()["errors"]
            assert said["reasons"][0] == {"code": error["code"], "detail": error["detail"]}
        assert said["balance_after"] == await shop.balance(customer)


async def test_quotes_move_nothing_and_wait_for_nobody(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500)), rewards=[a_reward(max_redemptions=1)]))
    shop_id = (await shop.row()).id
    locks = [select(table).where(table.shop_id == shop_id).with_for_update() for table in (Customer, Reward, PointLot)]
    async with service.store() as session:
        counts = [select(func.count()).select_from(table) for table in (LedgerEntry, Redemption, IdempotencyKey)]
        before = [await session.scalar(count) for count in counts]
        for lock in locks:
            await session.execute(lock)
        async with asyncio.timeout(5):
            assert (await quoted(shop))["redeemable"]
            assert (await shop.get(f"/v1/customers/{shop.customers[0]}/rewards")).status_code == 200

        assert [await session.scalar(count) for count in counts] == before
    assert await shop.lots() == [500]


async def test_who_or_what_is_unknown_or_another_shops_is_not_found(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500), excluded=True)))
    other = await service.open_shop(a_shop(a_customer(a_lot(500)), rewards=[a_reward("reward_theirs")]))

    for asked, code in (
        ({"customer": other.customers[0]}, "customer_not_found"),
        ({"reward": "reward_theirs"}, "reward_not_found"),
        ({"reward": "reward_theirs", "customer": "nobody@shopper.io"}, "customer_not_found"),
    ):
        answer = await shop.quote(**asked)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, code)
    assert (await shop.get(f"/v1/customers/{other.customers[0]}/rewards")).status_code == 404


async def test_a_bad_body_of_a_quote_gets_the_error_of_the_purchase(service: Service) -> None:
    shop = await service.open_shop(a_shop())

    answer = await service.api.post("/v1/rewards/reward_abc/quote", headers={"Authorization": shop.read_key}, json={})

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "customer_identifier_missing")


async def test_a_customer_sees_all_rewards_on_offer_the_cheapest_first_with_what_is_in_the_way(
    service: Service,
) -> None:
    rewards = [
        a_reward("dear", points_cost=1000),
        a_reward("modest", points_cost=500),
        a_reward("golden", points_cost=300, vip_tier="gold"),
        a_reward("rare", points_cost=200, max_redemptions=1),
        a_reward("off", points_cost=100, is_active=False),
        a_reward("gone", points_cost=100),
    ]
    shop = await service.open_shop(a_shop(a_customer(a_lot(800)), rewards=rewards, vip_tiers=TIERS))
    async with service.store.begin() as session:
        gone = (Reward.shop_id == (await shop.row()).id, Reward.id == "gone")
        await session.execute(update(Reward).where(*gone).values(deleted_at=func.now()))
    await shop.purchase(reward="rare")

    answer = await shop.get(f"/v1/customers/Jane.{shop.customers[0]}@shopper.io/rewards")

    found = answer.json()["data"]
    assert answer.json()["meta"] == {"total": 4, "page": 1, "per_page": 20, "total_pages": 1}
    assert {reward["type"] for reward in found} == {"reward"}
    assert [(reward["id"], codes(reward["attributes"])) for reward in found] == [
        *(("rare", ["reward_sold_out"]), ("golden", ["vip_tier_required"]), ("modest", [])),
        ("dear", ["insufficient_points"]),
    ]
    assert [reward["attributes"]["redeemable"] for reward in found] == [False, False, True, False]
    for reward in found:
        assert (await quoted(shop, reward=reward["id"]))["reasons"] == reward["attributes"]["reasons"]


async def test_a_customers_rewards_come_in_pages_and_in_the_order_that_is_asked_for(service: Service) -> None:
    rewards = [a_reward(f"reward_{cost}", points_cost=cost) for cost in (300, 100, 200)]
    shop = await service.open_shop(a_shop(a_customer(a_lot(150)), rewards=rewards))
    path = f"/v1/customers/{shop.customers[0]}/rewards"

    answers = [await shop.get(f"{path}?page[size]=2&page[number]={number}") for number in (1, 2, 3)]
    dearest = await shop.get(f"{path}?sort=-points_cost&page[size]=1")

    assert [ids_of(answer) for answer in answers] == [["reward_100", "reward_200"], ["reward_300"], []]
    assert answers[1].json()["meta"] == {"total": 3, "page": 2, "per_page": 2, "total_pages": 2}
    assert [codes(one["attributes"]) for one in answers[0].json()["data"]] == [[], ["insufficient_points"]]
    assert ids_of(dearest) == ["reward_300"]
    for wrong in ("page[size]=101", "sort=name", "filter[is_active]=false"):
        assert (await shop.get(f"{path}?{wrong}")).status_code == 400
