"""Rewards, customers and the shop, administrated through the API"""

import json
from typing import Any

import pytest
from sqlalchemy import select

from db.tables import ActivityLog
from tests.api.support import attributes_of, code_of, error_of, ids_of
from tests.builders import a_customer, a_lot, a_reward, a_shop
from tests.service import Service
from tests.shop import Shop

TIERS = [{"id": "gold", "name": "Gold", "points_required": 1000}]
NEW = {"name": "£5 off", "discount_type": "fixed_amount", "discount_amount": "5.00", "points_cost": 500}


@pytest.fixture
async def shop(without_temporal: Service) -> Shop:
    return await without_temporal.open_shop(a_shop(a_customer(a_lot(500)), vip_tiers=TIERS))


async def log(shop: Shop, *kinds: str) -> list[dict[str, Any]]:
    """The facts of the shop's entries of these kinds, oldest first."""
    mine = select(ActivityLog).where(ActivityLog.shop_id == (await shop.row()).id, ActivityLog.kind.in_(kinds))
    async with shop.service.store() as session:
        return [row.facts for row in await session.scalars(mine.order_by(ActivityLog.id))]


async def test_a_reward_lives_from_creation_to_deletion(shop: Shop) -> None:
    created = await shop.administrate("POST", "/v1/rewards", {**NEW, "id": "five", "vip_tier": "gold"})
    changed = await shop.administrate("PUT", "/v1/rewards/five", {"points_cost": 400, "discount_amount": 4.5})
    paused = await shop.administrate("PUT", "/v1/rewards/five", {"is_active": False})
    read = await shop.get("/v1/rewards/five")
    deleted = await shop.administrate("DELETE", "/v1/rewards/five")

    assert [one.status_code for one in (created, changed, paused, deleted)] == [201, 200, 200, 204]
    assert (created.json()["data"]["id"], attributes_of(created)["points_cost"]) == ("five", 500)
    assert attributes_of(created)["reward_type"] == "tier"
    assert (attributes_of(changed)["points_cost"], attributes_of(changed)["discount_amount"]) == (400, 4.5)
    assert read.json() == paused.json()
    assert attributes_of(read)["is_active"] is False
    assert code_of(await shop.get("/v1/rewards/five")) == (404, "reward_not_found")
    assert code_of(await shop.administrate("PUT", "/v1/rewards/five", {"is_active": True})) == (404, "reward_not_found")
    assert code_of(await shop.administrate("POST", "/v1/rewards", {**NEW, "id": "five"})) == (409, "reward_exists")
    entries = await log(shop, "reward_created", "reward_updated", "reward_deleted")
    assert [one["reward_id"] for one in entries] == ["five"] * 4
    assert [one.get("fields") for one in entries] == [None, ["discount_amount", "points_cost"], ["is_active"], None]
    assert all(one["actor"].startswith("API key ") for one in entries)


async def test_an_offer_gets_a_period_when_it_is_created_or_changed(shop: Shop) -> None:
    period = {"starts_at": "2030-11-28T00:00:00+01:00", "ends_at": "2030-12-01T00:00:00Z"}
    created = await shop.administrate("POST", "/v1/rewards", {**NEW, **period})
    changed = await shop.administrate("PUT", "/v1/rewards/reward_abc", period)
    reopened = await shop.administrate("PUT", "/v1/rewards/reward_abc", {"ends_at": None})

    for one in (created, changed):
        assert [attributes_of(one)[name] for name in period] == [
            "2030-11-27T23:00:00.000Z",
            "2030-12-01T00:00:00.000Z",
        ]
    assert reopened.is_success
    assert "ends_at" not in attributes_of(reopened)


@pytest.mark.parametrize("time", ["tomorrow", "2030-11-28T00:00:00", 1_900_000_000])
async def test_a_period_needs_times_with_an_offset(shop: Shop, time: object) -> None:
    refused = await shop.administrate("PUT", "/v1/rewards/reward_abc", {"starts_at": time})

    assert code_of(refused) == (400, "invalid_request")
    assert error_of(refused)["source"] == {"pointer": "/starts_at"}


async def test_a_paused_or_deleted_reward_cannot_be_purchased(shop: Shop) -> None:
    for method, body in (("PUT", {"is_active": False}), ("DELETE", None)):
        assert (await shop.administrate(method, "/v1/rewards/reward_abc", body)).is_success

        assert code_of(await shop.purchase()) == (404, "reward_not_found")


async def test_a_reward_gets_an_id(shop: Shop) -> None:
    created = await shop.administrate("POST", "/v1/rewards", NEW)

    assert created.status_code == 201
    assert set(ids_of(await shop.get("/v1/rewards"))) == {"reward_abc", created.json()["data"]["id"]}


INVALID_REWARDS: list[tuple[dict[str, Any], str | None]] = [
    ({"name": None}, "/name"),
    ({"points_cost": 0}, "/points_cost"),
    ({"points_cost": "500"}, "/points_cost"),
    ({"discount_amount": "5.001"}, "/discount_amount"),
    ({"discount_amount": None}, None),
    ({"discount_type": "percentage", "discount_amount": 101}, None),
    ({"discount_type": "free_product", "discount_amount": None, "product_variant_id": None}, None),
    ({"vip_tier": "silver"}, "/vip_tier"),
    ({"colour": "red"}, "/colour"),
]


@pytest.mark.parametrize(("wrong", "pointer"), INVALID_REWARDS, ids=str)
async def test_an_invalid_reward_changes_nothing(shop: Shop, wrong: dict[str, Any], pointer: str | None) -> None:
    for method, path, body in (
        ("POST", "/v1/rewards", {**NEW, **wrong}),
        ("PUT", "/v1/rewards/reward_abc", wrong),
    ):
        answer = await shop.administrate(method, path, body)

        assert code_of(answer) == (400, "invalid_request"), answer.text
        assert error_of(answer).get("source", {}).get("pointer") == pointer
    assert ids_of(await shop.get("/v1/rewards")) == ["reward_abc"]
    assert await log(shop, "reward_created", "reward_updated") == []


@pytest.mark.parametrize("missing", ["name", "discount_type", "points_cost"])
async def test_a_new_reward_needs_its_required_fields(shop: Shop, missing: str) -> None:
    answer = await shop.administrate("POST", "/v1/rewards", {name: one for name, one in NEW.items() if name != missing})

    assert (answer.status_code, error_of(answer)["source"]) == (400, {"pointer": f"/{missing}"})


async def test_a_repeated_request_does_nothing_and_answers_the_same(shop: Shop) -> None:
    customer = {"shopify_customer_id": "77", "email": "new@shopper.io"}
    for number, (method, path, body) in enumerate(
        [
            ("POST", "/v1/rewards", NEW),
            ("PUT", "/v1/rewards/reward_abc", {"points_cost": 1}),
            ("DELETE", "/v1/rewards/reward_abc", None),
            ("POST", "/v1/customers", customer),
            ("PUT", "/v1/shop", {"name": "Another name"}),
        ]
    ):
        key = f"request-{number}"
        first, second = [await shop.administrate(method, path, body, key=key) for _ in range(2)]
        other = await shop.administrate("PUT", "/v1/shop", {"code_prefix": "OTHER"}, key=key)

        assert (second.status_code, second.content) == (first.status_code, first.content), first.text
        assert (first.is_success, second.headers["Idempotency-Replayed"]) == (True, "true")
        assert code_of(other) == (422, "idempotency_key_reused")
    assert len(await log(shop, "reward_created", "reward_updated", "reward_deleted", "shop_updated")) == 4


async def test_other_keys_administrate_nothing(shop: Shop) -> None:
    for key in (shop.full_key, shop.read_key):
        for method, path, body in (
            ("POST", "/v1/rewards", NEW),
            ("PUT", "/v1/rewards/reward_abc", {"points_cost": 1}),
            ("DELETE", "/v1/rewards/reward_abc", None),
            ("POST", "/v1/customers", {"shopify_customer_id": "77"}),
            ("POST", "/v1/customers/bulk", None),
            ("PUT", "/v1/shop", {"name": "Ours"}),
        ):
            assert code_of(await shop.send(method, path, body, api_key=key)) == (403, "admin_key_required"), path
        assert (await shop.get("/v1/shop", key)).status_code == 200


async def test_an_admin_key_redeems_and_reads(shop: Shop) -> None:
    quoted = await shop.send(
        "POST", "/v1/rewards/reward_abc/quote", {"customer_identifier": shop.customers[0]}, api_key=shop.admin_key
    )
    adjusted = await shop.administrate("POST", f"/v1/customers/{shop.customers[0]}/points", {"adjustment": 5})

    assert (quoted.status_code, adjusted.status_code) == (200, 200)


async def test_a_customer_is_created_then_updated(shop: Shop) -> None:
    new = {"shopify_customer_id": "77", "email": "Jane@Shopper.io", "first_name": "Jane"}

    created = await shop.administrate("POST", "/v1/customers", new)
    updated = await shop.administrate("POST", "/v1/customers", {"shopify_customer_id": "77", "vip_tier": "gold"})

    assert (created.status_code, updated.status_code) == (201, 200)
    assert (created.json()["data"]["id"], attributes_of(created)["current_points"]) == ("77", 0)
    assert attributes_of(updated)["first_name"] == "Jane"
    assert attributes_of(updated)["vip_tier"]["name"] == "Gold"
    assert updated.json() == (await shop.get("/v1/customers/jane@shopper.io")).json()
    assert (await shop.get("/v1/customers")).json()["meta"]["total"] == 2
    created_entry, updated_entry = await log(shop, "customer_created", "customer_updated")
    assert created_entry["actor"].startswith("API key ")
    assert updated_entry["fields"] == ["vip_tier_id"]
    assert await shop.service.audit() == []


async def test_customers_that_do_not_fit_are_refused(shop: Shop) -> None:
    email = (await shop.customer())["email"]
    misfits: list[tuple[dict[str, Any], tuple[int, str]]] = [
        ({"shopify_customer_id": "77", "email": email.upper()}, (409, "customer_email_taken")),
        ({"shopify_customer_id": "77", "vip_tier": "silver"}, (400, "invalid_request")),
        ({"shopify_customer_id": "gid://77"}, (400, "invalid_request")),
        ({"shopify_customer_id": "77", "lots": []}, (400, "invalid_request")),
    ]
    for body, expected in misfits:
        assert code_of(await shop.administrate("POST", "/v1/customers", body)) == expected
    assert code_of(await shop.get("/v1/customers/77")) == (404, "customer_not_found")


async def test_each_line_of_a_bulk_has_its_own_outcome(shop: Shop) -> None:
    email = (await shop.customer())["email"]
    lines = [
        {"shopify_customer_id": "1", "email": "a@shopper.io"},
        {"shopify_customer_id": "2", "email": "A@shopper.io"},
        {"shopify_customer_id": "3", "email": email},
        {"shopify_customer_id": "1", "email": "b@shopper.io"},
        {"shopify_customer_id": "4", "email": "a@shopper.io", "vip_tier": "gold"},
        {"shopify_customer_id": "5", "vip_tier": "silver"},
        {"shopify_customer_id": shop.customers[0], "first_name": "Sam"},
        {"shopify_customer_id": "6", "colour": "red"},
    ]

    answer = await shop.upload("\n".join(map(json.dumps, lines)) + '\r\n\r\n{"not JSON\n')

    result = attributes_of(answer)
    assert answer.json()["data"]["type"] == "bulk_result"
    assert (result["created"], result["updated"]) == (2, 2)
    assert [one["line"] for one in result["failed"]] == [2, 3, 6, 8, 10]
    assert email not in answer.text
    people = (await shop.get("/v1/customers?sort=created_at")).json()
    found = {one["id"]: one["attributes"]["email"] for one in people["data"]}
    assert found == {shop.customers[0]: email, "1": "b@shopper.io", "4": "a@shopper.io"}
    assert people["meta"]["total"] == 3
    assert await shop.service.audit() == []


async def test_a_repeated_bulk_changes_nothing(shop: Shop) -> None:
    lines = '{"shopify_customer_id": "1"}\n{"shopify_customer_id": "2", "excluded": true}\n'
    first, second = await shop.upload(lines), await shop.upload(lines, "application/x-ndjson")

    assert (attributes_of(first)["created"], attributes_of(second)["created"]) == (2, 0)
    assert attributes_of(second)["updated"] == 2
    assert len(await log(shop, "customer_created", "customer_updated")) == 2


async def test_a_bulk_of_another_form_is_refused(shop: Shop) -> None:
    assert code_of(await shop.upload("{}", "application/json")) == (415, "unsupported_media_type")
    assert code_of(await shop.upload("\n" * 20_001)) == (413, "payload_too_large")
    assert code_of(await shop.upload(b" " * (8 * 1024 * 1024 + 1))) == (413, "payload_too_large")


async def test_the_shop_has_settings_and_no_secrets(shop: Shop) -> None:
    changes = {"enroll_customers": True, "on_order_cancelled": "refund_points", "release_grace_days": 30}

    changed = await shop.administrate("PUT", "/v1/shop", changes)
    read = await shop.get("/v1/shop")
    sent_back = await shop.administrate("PUT", "/v1/shop", attributes_of(read))

    assert read.json() == changed.json() == sent_back.json()
    shown = attributes_of(read)
    assert shown | changes == shown
    assert (shown["name"], shown["currency"], shown["code_prefix"]) == ("A shop", "GBP", "MAGE")
    assert shown["credentials"] == {
        **dict.fromkeys(("shopify", "klaviyo", "omnisend", "postscript"), "set"),
        "webhook_secret": "unset",
    }
    assert [one["fields"] for one in await log(shop, "shop_updated")] == [
        ["enroll_customers", "on_order_cancelled", "release_grace"]
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"currency": "JPY"},
        {"currency": "pounds"},
        {"code_prefix": "lower"},
        {"release_grace_days": 0},
        {"on_order_cancelled": "forget"},
        {"credentials": {"shopify": "shpat_secret"}},
        {"api_keys": []},
    ],
    ids=str,
)
async def test_invalid_settings_are_refused(without_temporal: Service, wrong: dict[str, Any]) -> None:
    shop = await without_temporal.open_shop(a_shop(rewards=[a_reward(minimum_spend="9.99")]))
    before = (await shop.get("/v1/shop")).json()

    assert code_of(await shop.administrate("PUT", "/v1/shop", wrong)) == (400, "invalid_request")
    assert (await shop.get("/v1/shop")).json() == before
