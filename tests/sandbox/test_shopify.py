"""The sandbox's Shopify does what Shopify was seen to do."""

from typing import Any

import httpx
import pytest

from tests.sandbox.conftest import CREATE, SHOP, TOKEN, Ask, a_discount

FIND = "query ($c: String!) { codeDiscountNodeByCode(code: $c) { id } }"
DELETE = "mutation ($id: ID!) { discountCodeDelete(id: $id) { deletedCodeDiscountId userErrors { code message } } }"
DEACTIVATE = """mutation ($id: ID!) { discountCodeDeactivate(id: $id) {
    codeDiscountNode { codeDiscount { ... on DiscountCodeBasic { status endsAt } } } userErrors { message } } }"""
BXGY = """mutation ($d: DiscountCodeBxgyInput!) { discountCodeBxgyCreate(bxgyCodeDiscount: $d) {
    codeDiscountNode { id } userErrors { code field } } }"""
METAFIELDS = """mutation ($m: [MetafieldsSetInput!]!) { metafieldsSet(metafields: $m) {
    metafields { id value } userErrors { code field } } }"""


async def test_a_code_is_taken_in_any_case_until_it_is_deleted(create: Ask, ask: Ask) -> None:
    first = await create()
    second = await create(code="five")
    await ask(DELETE, id=first["codeDiscountNode"]["id"])
    third = await create(code="five")

    assert second["userErrors"] == [{"code": "TAKEN", "field": ["basicCodeDiscount", "code"]}]
    assert third["userErrors"] == []
    assert (await ask(FIND, c="FiVe"))["data"]["codeDiscountNodeByCode"] == {"id": third["codeDiscountNode"]["id"]}


async def test_a_discount_can_be_born_expired_and_holds_its_code(create: Ask) -> None:
    fence = await create(startsAt="2020-01-01T00:00:00Z", endsAt="2020-01-02T00:00:00Z")
    late = await create()

    assert fence["codeDiscountNode"]["codeDiscount"] == {"status": "EXPIRED", "endsAt": "2020-01-02T00:00:00Z"}
    assert late["userErrors"][0]["code"] == "TAKEN"


async def test_a_second_delete_is_a_user_error(create: Ask, ask: Ask) -> None:
    gid = (await create())["codeDiscountNode"]["id"]

    first = (await ask(DELETE, id=gid))["data"]["discountCodeDelete"]
    second = (await ask(DELETE, id=gid))["data"]["discountCodeDelete"]

    assert first == {"deletedCodeDiscountId": gid, "userErrors": []}
    gone = {"code": "INVALID", "message": "Code discount does not exist."}
    assert second == {"deletedCodeDiscountId": None, "userErrors": [gone]}


async def test_deactivating_ends_a_discount_now(create: Ask, ask: Ask) -> None:
    gid = (await create())["codeDiscountNode"]["id"]

    ended = (await ask(DEACTIVATE, id=gid))["data"]["discountCodeDeactivate"]["codeDiscountNode"]["codeDiscount"]

    assert ended["status"] == "EXPIRED"


async def test_deactivating_what_has_ended_changes_nothing(create: Ask, ask: Ask) -> None:
    gid = (await create(endsAt="2026-01-02T00:00:00Z"))["codeDiscountNode"]["id"]

    ended = (await ask(DEACTIVATE, id=gid))["data"]["discountCodeDeactivate"]["codeDiscountNode"]["codeDiscount"]

    assert ended == {"status": "EXPIRED", "endsAt": "2026-01-02T00:00:00Z"}


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"code": ""}, "code", "BLANK"),
        ({"code": "X" * 256}, "code", "TOO_LONG"),
        ({"title": None}, "title", "BLANK"),
        ({"startsAt": None}, "startsAt", "BLANK"),
        ({"endsAt": "2025-01-01T00:00:00Z"}, "endsAt", "INVALID"),
        ({"tags": list("abcdef")}, "tags", "TOO_MANY_TAGS"),
        ({"tags": ["x" * 256]}, "tags", "INVALID_TAG_LENGTH"),
        ({"customerGets": {"value": {"percentage": 15.0}}}, "customerGets.value.percentage", "VALUE_OUTSIDE_RANGE"),
        ({"customerGets": {"value": {"discountOnQuantity": {}}}}, "customerGets.value.discountOnQuantity", "INVALID"),
    ],
)
async def test_a_bad_discount_is_a_user_error(create: Ask, changes: dict[str, Any], path: str, code: str) -> None:
    refused = await create(**changes)

    assert refused["codeDiscountNode"] is None
    assert refused["userErrors"] == [{"code": code, "field": ["basicCodeDiscount", *path.split(".")]}]


async def test_a_free_product_cannot_be_bought_with_just_anything(ask: Ask) -> None:
    everything: dict[str, Any] = {"items": {"all": True}, "value": {"quantity": "1"}}
    gift = {"discountOnQuantity": {"quantity": "1", "effect": {"percentage": 1.0}}}
    discount = a_discount(customerBuys=everything, customerGets={"items": {"all": True}, "value": gift})

    errors = (await ask(BXGY, d=discount))["data"]["discountCodeBxgyCreate"]["userErrors"]

    assert [error["field"][1:] for error in errors] == [["customerGets"], ["customerBuys", "items"]]


async def test_metafields_are_set_all_or_none(ask: Ask) -> None:
    good = {"ownerId": "gid://shopify/Customer/1", "namespace": "mage", "key": "loyalty", "type": "json", "value": "{}"}

    refused = (await ask(METAFIELDS, m=[good, good | {"value": "{"}]))["data"]["metafieldsSet"]
    taken = (await ask(METAFIELDS, m=[good]))["data"]["metafieldsSet"]

    assert refused == {
        "metafields": None,
        "userErrors": [{"code": "INVALID_VALUE", "field": ["metafields", "1", "value"]}],
    }
    assert [metafield["value"] for metafield in taken["metafields"]] == ["{}"]


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("query {", {}, "PARSE_ERROR"),
        ("query { shopOfHorrors }", {}, "undefinedField"),
        (CREATE, {"d": {"context": {"all": "ALL", "customers": {"add": ["1"]}}}}, "INVALID_VARIABLE"),
        (CREATE, {"d": {"startsAt": "tomorrow"}}, "INVALID_VARIABLE"),
        (CREATE, {}, "INVALID_VARIABLE"),
    ],
)
async def test_a_request_outside_the_schema_has_no_data(ask: Ask, query: str, variables: Any, code: str) -> None:
    answer = await ask(query, **variables)

    assert "data" not in answer
    assert answer["errors"][0]["extensions"] == {"code": code}


async def test_a_shop_opens_to_its_own_token_only(http: httpx.AsyncClient) -> None:
    body = {"query": FIND, "variables": {"c": "X"}}

    strange = await http.post(SHOP, headers={"X-Shopify-Access-Token": "hello"}, json=body)
    usual = await http.post(SHOP, headers=TOKEN, json=body)
    await http.put("/_sandbox/shopify/shops/corner-shop.myshopify.com", json={"access_token": "shpat_new"})
    outdated = await http.post(SHOP, headers=TOKEN, json=body)
    fresh = await http.post(SHOP, headers={"X-Shopify-Access-Token": "shpat_new"}, json=body)

    assert [answer.status_code for answer in (strange, usual, outdated, fresh)] == [401, 200, 401, 200]
    assert "Invalid API key" in strange.json()["errors"]


async def test_shops_do_not_see_each_others_codes(http: httpx.AsyncClient, create: Ask) -> None:
    await create()

    body = {"query": FIND, "variables": {"c": "FIVE"}}
    other = await http.post(SHOP.replace("corner", "other"), headers=TOKEN, json=body)

    assert other.json()["data"] == {"codeDiscountNodeByCode": None}


async def test_a_bucket_runs_dry_and_fills_again(http: httpx.AsyncClient, ask: Ask) -> None:
    await http.put("/_sandbox/shopify/shops/corner-shop.myshopify.com", json={"restore_rate": 1.2})
    answers = [await ask(CREATE, d=a_discount(code=f"FIVE-{number}")) for number in range(3)]

    made, _, throttled = answers

    assert made["extensions"]["cost"]["actualQueryCost"] == made["extensions"]["cost"]["requestedQueryCost"] == 11
    assert throttled["errors"][0]["extensions"]["code"] == "THROTTLED"
    assert "data" not in throttled
    cost = throttled["extensions"]["cost"]
    assert cost["requestedQueryCost"] > cost["throttleStatus"]["currentlyAvailable"]
    seen = (await http.get("/_sandbox/shopify")).json()
    assert [call["outcome"] for call in seen["calls"]] == ["ok", "ok", "THROTTLED"]


async def test_the_version_served_is_told(http: httpx.AsyncClient) -> None:
    asked = [SHOP, SHOP.replace("2026-10", "2019-04")]
    body = {"query": FIND, "variables": {"c": "X"}}

    served = [(await http.post(path, headers=TOKEN, json=body)).headers["X-Shopify-API-Version"] for path in asked]

    assert served == ["2026-10", "2026-01"]
