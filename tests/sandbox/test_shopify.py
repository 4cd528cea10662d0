"""The simulated Shopify behaves like recorded responses of the real one."""

from typing import Any

import httpx
import pytest

from tests.sandbox.conftest import CREATE, FIND, SHOP, Execute, VendorState, a_discount, find

SETTINGS = "/_sandbox/shopify/shops/corner-shop.myshopify.com"
DELETE = "mutation ($id: ID!) { discountCodeDelete(id: $id) { deletedCodeDiscountId userErrors { code message } } }"
DEACTIVATE = """mutation ($id: ID!) { discountCodeDeactivate(id: $id) {
    codeDiscountNode { codeDiscount { ... on DiscountCodeBasic { status endsAt } } } userErrors { message } } }"""
BXGY = """mutation ($d: DiscountCodeBxgyInput!) { discountCodeBxgyCreate(bxgyCodeDiscount: $d) {
    codeDiscountNode { id } userErrors { code field } } }"""
METAFIELDS = """mutation ($m: [MetafieldsSetInput!]!) { metafieldsSet(metafields: $m) {
    metafields { id value } userErrors { code field } } }"""


async def test_codes_are_unique_ignoring_case_until_deleted(create: Execute, execute: Execute) -> None:
    first = await create()
    second = await create(code="five")
    await execute(DELETE, id=first["codeDiscountNode"]["id"])
    third = await create(code="five")

    assert second["userErrors"] == [{"code": "TAKEN", "field": ["basicCodeDiscount", "code"]}]
    assert third["userErrors"] == []
    assert (await execute(FIND, c="FiVe"))["data"]["codeDiscountNodeByCode"] == {"id": third["codeDiscountNode"]["id"]}


async def test_an_expired_discount_occupies_its_code(create: Execute) -> None:
    fence = await create(startsAt="2020-01-01T00:00:00Z", endsAt="2020-01-02T00:00:00Z")
    late = await create()

    assert fence["codeDiscountNode"]["codeDiscount"] == {"status": "EXPIRED", "endsAt": "2020-01-02T00:00:00Z"}
    assert late["userErrors"][0]["code"] == "TAKEN"


async def test_a_second_delete_is_a_user_error(create: Execute, execute: Execute) -> None:
    gid = (await create())["codeDiscountNode"]["id"]

    first = (await execute(DELETE, id=gid))["data"]["discountCodeDelete"]
    second = (await execute(DELETE, id=gid))["data"]["discountCodeDelete"]

    assert first == {"deletedCodeDiscountId": gid, "userErrors": []}
    gone = {"code": "INVALID", "message": "Code discount does not exist."}
    assert second == {"deletedCodeDiscountId": None, "userErrors": [gone]}


async def test_deactivating_expires_only_active_discounts(create: Execute, execute: Execute) -> None:
    active, expired = await create(), await create(code="OLD", endsAt="2026-01-02T00:00:00Z")

    for payload, ends_at in ((active, None), (expired, "2026-01-02T00:00:00Z")):
        body = await execute(DEACTIVATE, id=payload["codeDiscountNode"]["id"])
        discount = body["data"]["discountCodeDeactivate"]["codeDiscountNode"]["codeDiscount"]
        assert discount["status"] == "EXPIRED"
        assert ends_at in {None, discount["endsAt"]}


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
async def test_an_invalid_discount_is_rejected(create: Execute, changes: dict[str, Any], path: str, code: str) -> None:
    rejected = await create(**changes)

    assert rejected["codeDiscountNode"] is None
    assert rejected["userErrors"] == [{"code": code, "field": ["basicCodeDiscount", *path.split(".")]}]


async def test_a_free_product_needs_specific_items(execute: Execute) -> None:
    everything: dict[str, Any] = {"items": {"all": True}, "value": {"quantity": "1"}}
    free = {"discountOnQuantity": {"quantity": "1", "effect": {"percentage": 1.0}}}
    discount = a_discount(customerBuys=everything, customerGets={"items": {"all": True}, "value": free})

    errors = (await execute(BXGY, d=discount))["data"]["discountCodeBxgyCreate"]["userErrors"]

    assert [error["field"][1:] for error in errors] == [["customerGets"], ["customerBuys", "items"]]


async def test_metafields_are_set_atomically(execute: Execute) -> None:
    good = {"ownerId": "gid://shopify/Customer/1", "namespace": "mage", "key": "loyalty", "type": "json", "value": "{}"}

    rejected = (await execute(METAFIELDS, m=[good, good | {"value": "{"}]))["data"]["metafieldsSet"]
    accepted = (await execute(METAFIELDS, m=[good]))["data"]["metafieldsSet"]

    error = {"code": "INVALID_VALUE", "field": ["metafields", "1", "value"]}
    assert rejected == {"metafields": None, "userErrors": [error]}
    assert [metafield["value"] for metafield in accepted["metafields"]] == ["{}"]


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
async def test_an_invalid_request_returns_no_data(execute: Execute, query: str, variables: Any, code: str) -> None:
    body = await execute(query, **variables)

    assert "data" not in body
    assert body["errors"][0]["extensions"] == {"code": code}


async def test_a_shop_accepts_only_its_token(http: httpx.AsyncClient) -> None:
    malformed, valid = await find(http, token="hello"), await find(http)
    await http.put(SETTINGS, json={"access_token": "shpat_new"})
    replaced, current = await find(http), await find(http, token="shpat_new")

    assert [response.status_code for response in (malformed, valid, replaced, current)] == [401, 200, 401, 200]
    assert "Invalid API key" in malformed.json()["errors"]


async def test_codes_belong_to_one_shop(http: httpx.AsyncClient, create: Execute) -> None:
    await create()

    other = await find(http, SHOP.replace("corner", "other"))

    assert other.json()["data"] == {"codeDiscountNodeByCode": None}


async def test_queries_beyond_the_rate_limit_are_throttled(
    http: httpx.AsyncClient, execute: Execute, vendor_state: VendorState
) -> None:
    await http.put(SETTINGS, json={"restore_rate": 1.2})

    created, _, throttled = [await execute(CREATE, d=a_discount(code=f"FIVE-{number}")) for number in range(3)]

    cost = created["extensions"]["cost"]
    assert cost["actualQueryCost"] == cost["requestedQueryCost"] == 11
    assert throttled["errors"][0]["extensions"]["code"] == "THROTTLED"
    assert "data" not in throttled
    cost = throttled["extensions"]["cost"]
    assert cost["requestedQueryCost"] > cost["throttleStatus"]["currentlyAvailable"]
    assert [call["outcome"] for call in (await vendor_state("shopify"))["calls"]] == ["ok", "ok", "THROTTLED"]


async def test_a_header_shows_the_served_version(http: httpx.AsyncClient) -> None:
    paths = (SHOP, SHOP.replace("2026-10", "2019-04"))

    served = [(await find(http, path)).headers["X-Shopify-API-Version"] for path in paths]

    assert served == ["2026-10", "2026-01"]
