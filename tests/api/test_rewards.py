"""/v1/rewards and /v1/vip-tiers"""

import pytest
from sqlalchemy import func, update

from db.tables import Reward
from tests.api.support import attributes_of, error_of, ids_of, values_of
from tests.builders import a_reward, a_shop
from tests.service import Service
from tests.shop import Shop

TIERS = [
    {"id": "tier_gold", "name": "Gold", "points_required": 1000, "points_multiplier": "1.5", "badge_color": "#FFD700"},
    {"id": "tier_bronze", "name": "Bronze", "points_required": 0, "description": "The first tier."},
]


@pytest.fixture
def service(without_temporal: Service) -> Service:
    """These tests run no workflow."""
    return without_temporal


@pytest.fixture
async def shop(service: Service) -> Shop:
    rewards = [
        a_reward("five", description="For any order.", minimum_spend="20.00"),
        a_reward("gold_only", vip_tier="tier_gold", points_cost=800),
        a_reward("off", is_active=False, points_cost=300),
        a_reward("shipping", discount_type="free_shipping", discount_amount=None, points_cost=100),
    ]
    return await service.open_shop(a_shop(rewards=rewards, vip_tiers=TIERS))


async def test_a_reward_has_the_reference_fields(shop: Shop) -> None:
    answer = await shop.get("/v1/rewards/five")

    reward = answer.json()["data"]
    assert (answer.status_code, reward["type"], reward["id"]) == (200, "reward", "five")
    times = {name: reward["attributes"].pop(name) for name in ("created_at", "updated_at")}
    assert all(time.endswith("Z") for time in times.values())
    assert reward["attributes"] == {
        "name": "£5 off your next order",
        "description": "For any order.",
        "discount_type": "fixed_amount",
        "reward_type": "discount",
        "points_cost": 500,
        "discount_amount": 5.0,
        "minimum_spend": 20.0,
        "is_active": True,
        "max_redemptions": None,
        "expiry_days": 30,
    }


async def test_tier_rewards_and_rewards_without_amount(shop: Shop) -> None:
    gold = attributes_of(await shop.get("/v1/rewards/gold_only"))
    shipping = attributes_of(await shop.get("/v1/rewards/shipping"))

    assert gold["reward_type"] == "tier"
    assert (shipping["discount_amount"], shipping["minimum_spend"], shipping["description"]) == (None, None, None)


async def test_rewards_are_listed_sorted_and_filtered(shop: Shop) -> None:
    every = await shop.get("/v1/rewards?sort=-points_cost")
    active = await shop.get("/v1/rewards?sort=points_cost&filter[is_active]=true&page[size]=2")
    inactive = await shop.get("/v1/rewards?filter[is_active]=false")

    assert ids_of(every) == ["gold_only", "five", "off", "shipping"]
    assert (ids_of(active), ids_of(inactive)) == (["shipping", "five"], ["off"])
    assert active.json()["meta"] == {"total": 3, "page": 1, "per_page": 2, "total_pages": 2}
    assert values_of(inactive, "is_active") == [False]


async def test_a_deleted_reward_is_not_found(service: Service, shop: Shop) -> None:
    async with service.store.begin() as session:
        await session.execute(update(Reward).where(Reward.id == "gold_only").values(deleted_at=func.now()))

    assert error_of(await shop.get("/v1/rewards/gold_only"))["code"] == "reward_not_found"
    assert "gold_only" not in ids_of(await shop.get("/v1/rewards"))
    assert values_of(await shop.get("/v1/vip-tiers"), "rewards") == [[], []]


async def test_tiers_are_listed_with_their_rewards(shop: Shop) -> None:
    answer = await shop.get("/v1/vip-tiers")

    assert set(answer.json()) == {"data"}
    assert ids_of(answer) == ["tier_bronze", "tier_gold"]
    assert {one["type"] for one in answer.json()["data"]} == {"vip_tier"}
    gold = answer.json()["data"][1]["attributes"]
    assert set(gold) == {
        *("name", "description", "points_required", "points_multiplier", "badge_image_url", "badge_color"),
        *("rewards", "created_at", "updated_at"),
    }
    assert (gold["points_multiplier"], gold["badge_color"], gold["description"]) == (1.5, "#FFD700", None)
    alone = (await shop.get("/v1/rewards/gold_only")).json()["data"]
    assert gold["rewards"] == [{"id": "gold_only", **alone["attributes"]}]


async def test_other_shops_rewards_and_tiers_are_not_found(service: Service, shop: Shop) -> None:
    other = await service.open_shop(a_shop(rewards=[a_reward("theirs")]))

    assert error_of(await other.get("/v1/rewards/five"))["code"] == "reward_not_found"
    assert ids_of(await other.get("/v1/rewards")) == ["theirs"]
    assert ids_of(await other.get("/v1/vip-tiers")) == []


async def test_invalid_parameters_are_refused_by_name(shop: Shop) -> None:
    for query in ("filter[is_active]=perhaps", "sort=name", "page[size]=0"):
        answer = await shop.get(f"/v1/rewards?{query}")
        assert (answer.status_code, error_of(answer)["source"]["parameter"]) == (400, query.partition("=")[0])
