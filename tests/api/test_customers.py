"""Customers as a client reads, lists and changes them."""

from datetime import timedelta
from itertools import chain

import pytest

from tests.api.answers import error_of, ids_of, values_of
from tests.builders import Json, a_customer, a_lot, a_shop
from tests.service import Service
from tests.shop import Shop


async def test_a_customers_points_are_those_that_can_be_spent_were_earned_and_were_spent(service: Service) -> None:
    lots = [a_lot(300, days_old=400, expires_in=-timedelta(days=1)), a_lot(900, expires_in=timedelta(days=30))]
    tiers = [{"id": "gold", "name": "Gold", "points_required": 1000}]
    shop = await service.open_shop(a_shop(a_customer(*lots, vip_tier="gold"), vip_tiers=tiers))
    await shop.purchase()

    answer = await shop.get(f"/v1/customers/{shop.customers[0]}")

    customer = answer.json()["data"]
    assert (customer["type"], customer["id"]) == ("customer", shop.customers[0])
    attributes = customer["attributes"]
    points = [attributes[f"{kind}_points"] for kind in ("current", "lifetime", "redeemed")]
    assert points == [400, 1200, 500]
    assert attributes["vip_tier"] == {
        "id": "gold",
        "name": "Gold",
        "points_required": 1000,
        "points_multiplier": 1.0,
        "badge_image_url": None,
        "badge_color": None,
    }
    assert attributes["points_expire_at"] is not None
    assert attributes["loyalty_status"] == "member"


async def test_the_tier_can_be_left_out(service: Service) -> None:
    tiers = [{"id": "gold", "name": "Gold", "points_required": 1000}]
    shop = await service.open_shop(a_shop(a_customer(vip_tier="gold"), vip_tiers=tiers))

    answer = await shop.get(f"/v1/customers/{shop.customers[0]}?exclude_vip=true")

    assert answer.json()["data"]["attributes"]["vip_tier"] is None


async def test_a_bad_parameter_is_named(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer()))

    answer = await shop.get(f"/v1/customers/{shop.customers[0]}?exclude_vip=perhaps")

    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"], error["source"]) == (
        400,
        "invalid_request",
        {"parameter": "exclude_vip"},
    )


async def test_points_of_a_failed_purchase_do_not_count_as_spent(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500))))
    await service.add_fault("shopify", kind="status", status=403, times=None)
    await shop.purchase()

    attributes = (await shop.get(f"/v1/customers/{shop.customers[0]}")).json()["data"]["attributes"]

    assert (attributes["current_points"], attributes["redeemed_points"]) == (500, 0)


async def test_a_customer_has_every_field_of_the_reference(service: Service) -> None:
    shop = await service.open_shop(
        a_shop(
            a_customer(
                date_of_birth="1990-05-15",
                referral_code="ABC123",
                referral_url="https://mystore.myshopify.com?referral_code=ABC123",
            )
        )
    )

    attributes = await shop.customer()

    assert set(attributes) == {
        *("shopify_customer_id", "email", "first_name", "last_name", "current_points", "lifetime_points"),
        *("redeemed_points", "loyalty_status", "date_of_birth", "referral_url", "referral_code", "vip_tier"),
        *("points_expire_at", "created_at", "updated_at"),
    }
    assert attributes["date_of_birth"] == "1990-05-15T00:00:00.000Z"
    assert attributes["referral_url"] == "https://mystore.myshopify.com?referral_code=ABC123"
    assert (attributes["referral_code"], attributes["last_name"]) == ("ABC123", None)


@pytest.fixture
async def members(service: Service) -> Shop:
    """Three customers: rich, poor and excluded."""
    return await service.open_shop(
        a_shop(
            a_customer(a_lot(900), email=f"Rich.One@{service.settings.temporal_task_queue}.io"),
            a_customer(a_lot(100), a_lot(500)),
            a_customer(excluded=True),
        )
    )


async def test_a_customer_is_listed_as_they_are_told_of_alone(members: Shop) -> None:
    listed = (await members.get("/v1/customers")).json()

    assert len(listed["data"]) == 3
    for resource in listed["data"]:
        assert (await members.get(f"/v1/customers/{resource['id']}")).json()["data"] == resource


async def test_customers_are_sorted_by_any_of_their_points(members: Shop) -> None:
    rich, poor, excluded = members.customers
    await members.purchase(customer=poor)

    for sort, expected in {
        "-points": [rich, poor, excluded],
        "points": [excluded, poor, rich],
        "-lifetime_points": [rich, poor, excluded],
        "-redeemed_points": [poor],
    }.items():
        answer = await members.get(f"/v1/customers?sort={sort}")
        assert ids_of(answer)[: len(expected)] == expected


async def test_the_newest_customers_come_first_and_pages_neither_repeat_nor_miss_any(service: Service) -> None:
    shop = await service.open_shop(a_shop(*(a_customer() for _ in range(7))))

    pages = [await shop.get(f"/v1/customers?page[size]=3&page[number]={number}") for number in (1, 2, 3, 4)]

    seen = [ids_of(page) for page in pages]
    assert [len(page) for page in seen] == [3, 3, 1, 0]
    assert sorted(chain(*seen)) == sorted(shop.customers)
    assert pages[1].json()["meta"] == {"total": 7, "page": 2, "per_page": 3, "total_pages": 3}
    created = list(chain(*(values_of(page, "created_at") for page in pages)))
    assert created == sorted(created, reverse=True)


async def test_a_list_without_parameters_is_the_first_twenty(service: Service) -> None:
    shop = await service.open_shop(a_shop(*(a_customer() for _ in range(21))))

    answer = await shop.get("/v1/customers")

    assert (len(ids_of(answer)), answer.json()["meta"]) == (
        20,
        {"total": 21, "page": 1, "per_page": 20, "total_pages": 2},
    )


async def test_customers_are_found_by_a_part_of_their_address_in_any_case(members: Shop) -> None:
    domain = (await members.customer())["email"].partition("@")[2]
    for part in ("rich.one@", "RICH", "h.O", "iC", "c", f"Rich.One@{domain}", domain[1:]):
        answer = await members.get(f"/v1/customers?filter[email]={part}")
        assert (ids_of(answer), answer.json()["meta"]["total"]) == ([members.customers[0]], 1)


async def test_what_no_address_contains_finds_nobody(members: Shop) -> None:
    nothing = {"total": 0, "page": 1, "per_page": 20, "total_pages": 0}
    for part in ("%25", "_", "nobody", "rich%25one", "\\"):
        answer = await members.get(f"/v1/customers?filter[email]={part}")
        assert (ids_of(answer), answer.json()["meta"]) == ([], nothing)


async def test_members_and_excluded_are_told_apart_and_add_up(members: Shop) -> None:
    rich, poor, excluded = members.customers

    inside = await members.get("/v1/customers?filter[loyalty_status]=member")
    outside = await members.get("/v1/customers?filter[loyalty_status]=excluded&sort=points")

    assert ({*ids_of(inside)}, inside.json()["meta"]["total"]) == ({rich, poor}, 2)
    assert (ids_of(outside), outside.json()["meta"]["total"]) == ([excluded], 1)
    assert set(values_of(outside, "loyalty_status")) == {"excluded"}


async def test_a_parameter_that_means_nothing_is_refused_by_name(members: Shop) -> None:
    for query in (
        *("sort=email", "sort=created_at,points", "sort=", "pages=2"),
        *("page[number]=0", "page[number]=two", "page[size]=101", "page[size]=-1"),
        *("filter[loyalty_status]=gold", "filter[email]=", "filter[email]=a%00b", "filter[name]=jane"),
    ):
        answer = await members.get(f"/v1/customers?{query}")
        assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_request")
        assert error_of(answer)["source"] == {"parameter": query.partition("=")[0]}


async def test_a_page_far_beyond_the_end_is_empty(members: Shop) -> None:
    answer = await members.get(f"/v1/customers?page[number]={10**30}")

    assert (ids_of(answer), answer.json()["meta"]["total"]) == ([], 3)


async def test_another_shops_customers_are_never_listed_nor_changed(service: Service, members: Shop) -> None:
    other = await service.open_shop(a_shop(a_customer()))

    assert not {*ids_of(await members.get("/v1/customers"))} & {*other.customers}
    assert ids_of(await other.get("/v1/customers?filter[email]=rich")) == []
    for path in ("", "/earning-history", "/reward-history"):
        answer = await members.get(f"/v1/customers/{other.customers[0]}{path}")
        assert (answer.status_code, error_of(answer)["code"]) == (404, "customer_not_found")
    answer = await members.send("PUT", f"/v1/customers/{other.customers[0]}", {"is_excluded": True})
    assert (answer.status_code, error_of(answer)["code"]) == (404, "customer_not_found")
    assert (await other.customer())["loyalty_status"] == "member"


@pytest.mark.parametrize("wrapped", [True, False])
async def test_an_update_changes_what_it_names_and_nothing_else(service: Service, wrapped: bool) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500), date_of_birth="1990-05-15")))
    before = await shop.customer()
    changes = {"is_excluded": True, "anniversary_date": "2020-02-29T00:00:00.000Z"}
    body = {"data": {"type": "customer", "attributes": changes}} if wrapped else changes

    answer = await shop.send("PUT", f"/v1/customers/{before['email']}", body)

    after = answer.json()["data"]["attributes"]
    assert answer.status_code == 200
    assert after == await shop.customer()
    assert after == {**before, "loyalty_status": "excluded", "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]
    assert error_of(await shop.purchase())["code"] == "customer_excluded"
    await shop.send("PUT", f"/v1/customers/{before['email']}", {"is_excluded": False, "date_of_birth": None})
    assert ((await shop.customer())["date_of_birth"], (await shop.purchase()).status_code) == (None, 201)


BAD_UPDATES: list[tuple[Json, str]] = [
    ({"is_excluded": "yes"}, "/is_excluded"),
    ({"is_excluded": None}, "/is_excluded"),
    ({"date_of_birth": "yesterday"}, "/date_of_birth"),
    ({"date_of_birth": 19900515}, "/date_of_birth"),
    ({"data": {"attributes": {"is_excluded": 1}}}, "/data/attributes/is_excluded"),
    ({"data": {}}, "/data/attributes"),
]


async def test_a_bad_update_is_refused_with_its_place_and_changes_nothing(members: Shop) -> None:
    before = await members.customer()

    for body, pointer in BAD_UPDATES:
        answer = await members.send("PUT", f"/v1/customers/{members.customers[0]}", body)
        assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_request")
        assert error_of(answer)["source"] == {"pointer": pointer}
    assert await members.customer() == before


async def test_a_read_only_key_changes_no_customer(members: Shop) -> None:
    path = f"/v1/customers/{members.customers[0]}"

    for method, where, body in (("PUT", path, {"is_excluded": True}), ("POST", f"{path}/points", {"adjustment": 1})):
        answer = await members.send(method, where, body, api_key=members.read_key)
        assert (answer.status_code, error_of(answer)["code"]) == (403, "read_only_key")
    assert (await members.customer())["loyalty_status"] == "member"
