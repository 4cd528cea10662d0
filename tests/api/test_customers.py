"""/v1/customers"""

from datetime import timedelta
from itertools import chain

import pytest

from tests.api.support import attributes_of, code_of, error_of, ids_of, values_of
from tests.builders import Json, a_customer, a_lot, a_shop
from tests.service import Service
from tests.shop import Shop

GOLD = {"id": "gold", "name": "Gold", "points_required": 1000}


@pytest.fixture
async def members(service: Service) -> Shop:
    """Three customers: rich, poor and excluded."""
    rich = a_customer(a_lot(900), email=f"Rich.One@{service.settings.temporal_task_queue}.io")
    return await service.open_shop(a_shop(rich, a_customer(a_lot(100), a_lot(500)), a_customer(excluded=True)))


async def test_current_lifetime_and_redeemed_points(service: Service) -> None:
    lots = [a_lot(300, days_old=400, expires_in=-timedelta(days=1)), a_lot(900, expires_in=timedelta(days=30))]
    shop = await service.open_shop(a_shop(a_customer(*lots, vip_tier="gold"), vip_tiers=[GOLD]))
    await shop.purchase()

    customer = (await shop.get(f"/v1/customers/{shop.customers[0]}")).json()["data"]

    assert (customer["type"], customer["id"]) == ("customer", shop.customers[0])
    attributes = customer["attributes"]
    assert [attributes[f"{kind}_points"] for kind in ("current", "lifetime", "redeemed")] == [400, 1200, 500]
    assert attributes["vip_tier"] == {
        **GOLD,
        "points_multiplier": 1.0,
        "badge_image_url": None,
        "badge_color": None,
    }
    assert attributes["points_expire_at"] is not None
    assert attributes["loyalty_status"] == "member"


async def test_the_tier_can_be_left_out(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(vip_tier="gold"), vip_tiers=[GOLD]))

    answer = await shop.get(f"/v1/customers/{shop.customers[0]}?exclude_vip=true")

    assert attributes_of(answer)["vip_tier"] is None


async def test_an_invalid_parameter_is_named(shop: Shop) -> None:
    answer = await shop.get(f"/v1/customers/{shop.customers[0]}?exclude_vip=perhaps")

    assert code_of(answer) == (400, "invalid_request")
    assert error_of(answer)["source"] == {"parameter": "exclude_vip"}


async def test_a_failed_purchase_redeems_no_points(service: Service, shop: Shop) -> None:
    await service.add_fault("shopify", kind="status", status=403, times=None)
    await shop.purchase()

    attributes = await shop.customer()

    assert (attributes["current_points"], attributes["redeemed_points"]) == (1200, 0)


async def test_a_customer_has_the_reference_fields(service: Service) -> None:
    url = "https://mystore.myshopify.com?referral_code=ABC123"
    profile = {"date_of_birth": "1990-05-15", "referral_code": "ABC123", "referral_url": url}
    shop = await service.open_shop(a_shop(a_customer(**profile)))

    attributes = await shop.customer()

    assert set(attributes) == {
        *("shopify_customer_id", "email", "first_name", "last_name", "current_points", "lifetime_points"),
        *("redeemed_points", "loyalty_status", "date_of_birth", "referral_url", "referral_code", "vip_tier"),
        *("points_expire_at", "created_at", "updated_at"),
    }
    assert attributes["date_of_birth"] == "1990-05-15T00:00:00.000Z"
    assert (attributes["referral_url"], attributes["referral_code"], attributes["last_name"]) == (url, "ABC123", None)


async def test_lists_and_single_customers_agree(members: Shop) -> None:
    listed = (await members.get("/v1/customers")).json()

    assert len(listed["data"]) == 3
    for resource in listed["data"]:
        assert (await members.get(f"/v1/customers/{resource['id']}")).json()["data"] == resource


async def test_customers_are_sorted_by_points(members: Shop) -> None:
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


async def test_pages_neither_repeat_nor_miss_customers(service: Service) -> None:
    shop = await service.open_shop(a_shop(*(a_customer() for _ in range(7))))

    pages = [await shop.get(f"/v1/customers?page[size]=3&page[number]={number}") for number in (1, 2, 3, 4)]

    ids = [ids_of(page) for page in pages]
    assert [len(page) for page in ids] == [3, 3, 1, 0]
    assert sorted(chain(*ids)) == sorted(shop.customers)
    assert pages[1].json()["meta"] == {"total": 7, "page": 2, "per_page": 3, "total_pages": 3}
    created = list(chain(*(values_of(page, "created_at") for page in pages)))
    assert created == sorted(created, reverse=True)


async def test_a_page_has_twenty_customers_by_default(service: Service) -> None:
    shop = await service.open_shop(a_shop(*(a_customer() for _ in range(21))))

    answer = await shop.get("/v1/customers")

    assert len(ids_of(answer)) == 20
    assert answer.json()["meta"] == {"total": 21, "page": 1, "per_page": 20, "total_pages": 2}


async def test_any_part_of_an_email_address_is_found(members: Shop) -> None:
    domain = (await members.customer())["email"].partition("@")[2]
    for part in ("rich.one@", "RICH", "h.O", "iC", "c", f"Rich.One@{domain}", domain[1:], " rich "):
        answer = await members.get(f"/v1/customers?filter[email]={part}")
        assert (ids_of(answer), answer.json()["meta"]["total"]) == ([members.customers[0]], 1)


@pytest.mark.parametrize(
    "identifier", ["Ünal@shopper.io", "ünal@shopper.io", "ÜNAL@SHOPPER.IO", "U\u0308nal@shopper.io"]
)
async def test_an_address_is_found_however_it_is_written(service: Service, identifier: str) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500), email="Ünal@shopper.io"), a_customer()))

    assert attributes_of(await shop.get(f"/v1/customers/{identifier}"))["email"] == "Ünal@shopper.io"
    for part in (identifier, identifier[:5]):
        assert ids_of(await shop.get(f"/v1/customers?filter[email]={part}")) == [shop.customers[0]]
    assert (await shop.purchase(customer=identifier)).status_code == 201


async def test_other_text_finds_no_customers(members: Shop) -> None:
    nothing = {"total": 0, "page": 1, "per_page": 20, "total_pages": 0}
    for part in ("%25", "_", "unknown", "rich%25one", "\\"):
        answer = await members.get(f"/v1/customers?filter[email]={part}")
        assert (ids_of(answer), answer.json()["meta"]) == ([], nothing)


async def test_customers_are_filtered_by_loyalty_status(members: Shop) -> None:
    rich, poor, excluded = members.customers

    inside = await members.get("/v1/customers?filter[loyalty_status]=member")
    outside = await members.get("/v1/customers?filter[loyalty_status]=excluded&sort=points")

    assert ({*ids_of(inside)}, inside.json()["meta"]["total"]) == ({rich, poor}, 2)
    assert (ids_of(outside), outside.json()["meta"]["total"]) == ([excluded], 1)
    assert values_of(outside, "loyalty_status") == ["excluded"]


@pytest.mark.parametrize(
    "query",
    [
        *("sort=email", "sort=created_at,points", "sort="),
        *("page[number]=0", "page[number]=two", "page[size]=101", "page[size]=-1"),
        *("filter[loyalty_status]=gold", "filter[email]="),
        # Control characters, also where strip() removes them.
        *("filter[email]=a%00b", "filter[email]=a%0C", "filter[email]=%09a", "filter[email]=%1F"),
    ],
)
async def test_invalid_parameters_are_refused_by_name(members: Shop, query: str) -> None:
    answer = await members.get(f"/v1/customers?{query}")

    assert code_of(answer) == (400, "invalid_request")
    assert error_of(answer)["source"] == {"parameter": query.partition("=")[0]}


async def test_a_page_past_the_end_is_empty(members: Shop) -> None:
    answer = await members.get(f"/v1/customers?page[number]={10**30}")

    assert (ids_of(answer), answer.json()["meta"]["total"]) == ([], 3)


async def test_other_shops_customers_are_not_found(service: Service, members: Shop) -> None:
    other = await service.open_shop(a_shop(a_customer()))

    assert not {*ids_of(await members.get("/v1/customers"))} & {*other.customers}
    assert ids_of(await other.get("/v1/customers?filter[email]=rich")) == []
    for path in ("", "/earning-history", "/reward-history"):
        answer = await members.get(f"/v1/customers/{other.customers[0]}{path}")
        assert code_of(answer) == (404, "customer_not_found")
    answer = await members.send("PUT", f"/v1/customers/{other.customers[0]}", {"is_excluded": True})
    assert code_of(answer) == (404, "customer_not_found")
    assert (await other.customer())["loyalty_status"] == "member"


@pytest.mark.parametrize("wrapped", [True, False])
async def test_an_update_changes_only_given_fields(service: Service, wrapped: bool) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500), date_of_birth="1990-05-15")))
    before = await shop.customer()
    changes = {"is_excluded": True, "anniversary_date": "2020-02-29T00:00:00.000Z"}
    body = {"data": {"type": "customer", "attributes": changes}} if wrapped else changes

    after = attributes_of(await shop.send("PUT", f"/v1/customers/{before['email']}", body))

    assert after == await shop.customer()
    assert after == {**before, "loyalty_status": "excluded", "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]
    assert error_of(await shop.purchase())["code"] == "customer_excluded"
    await shop.send("PUT", f"/v1/customers/{before['email']}", {"is_excluded": False, "date_of_birth": None})
    assert ((await shop.customer())["date_of_birth"], (await shop.purchase()).status_code) == (None, 201)


INVALID_UPDATES: list[tuple[Json, str]] = [
    ({"is_excluded": "yes"}, "/is_excluded"),
    ({"is_excluded": None}, "/is_excluded"),
    ({"date_of_birth": "yesterday"}, "/date_of_birth"),
    ({"date_of_birth": 19900515}, "/date_of_birth"),
    ({"data": {"attributes": {"is_excluded": 1}}}, "/data/attributes/is_excluded"),
    ({"data": {}}, "/data/attributes"),
]


async def test_invalid_updates_change_nothing(members: Shop) -> None:
    before = await members.customer()

    for body, pointer in INVALID_UPDATES:
        answer = await members.send("PUT", f"/v1/customers/{members.customers[0]}", body)
        assert code_of(answer) == (400, "invalid_request")
        assert error_of(answer)["source"] == {"pointer": pointer}
    assert await members.customer() == before


async def test_a_read_only_key_changes_no_customer(members: Shop) -> None:
    path = f"/v1/customers/{members.customers[0]}"

    for method, where, body in (("PUT", path, {"is_excluded": True}), ("POST", f"{path}/points", {"adjustment": 1})):
        answer = await members.send(method, where, body, api_key=members.read_key)
        assert code_of(answer) == (403, "read_only_key")
    assert (await members.customer())["loyalty_status"] == "member"
