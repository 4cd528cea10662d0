"""The outcome of every response that Shopify is known to send."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from clients.outcomes import NotExecuted, Refused, Unknown, VendorError
from clients.shopify import CodeTaken, Shopify
from domain.discounts import Discount
from tests.clients.build import FREE_PRODUCT, FREE_PRODUCT_WITH_SPEND, STATE, STORE, Case, a_discount, a_status
from tests.clients.conftest import AddFault, VendorState

CREATE = "discountCodeBasicCreate"
BELOW = [CREATE, "codeDiscountNode"]


def a_body(**body: Any) -> dict[str, Any]:
    return a_status(200, body=body)


def an_error(code: str, *, path: list[str] | None = None, **body: Any) -> dict[str, Any]:
    error = {"message": "no luck", "extensions": {"code": code}, "path": path}
    return a_body(errors=[error], **body)


def a_user_error(code: str | None) -> dict[str, Any]:
    error = {"field": ["basicCodeDiscount", "endsAt"], "code": code, "message": "no luck"}
    return a_body(data={CREATE: {"codeDiscountNode": None, "userErrors": [error]}})


def a_cost(requested: float, available: float, rate: float) -> dict[str, Any]:
    status = {"maximumAvailable": 4000.0, "currentlyAvailable": available, "restoreRate": rate}
    return {"cost": {"requestedQueryCost": requested, "actualQueryCost": None, "throttleStatus": status}}


THROTTLED = [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]

CASES = [
    Case("connection refused", {"kind": "down"}, NotExecuted, "ConnectError"),
    Case("throttled", {"kind": "throttled", "retry_after": 2.5}, NotExecuted, "THROTTLED", retry_after=2.5),
    Case(
        "throttled, documented example",
        a_body(errors=THROTTLED, extensions=a_cost(862, 572, 200)),
        NotExecuted,
        retry_after=1.45,
    ),
    Case("throttled without cost", a_body(errors=THROTTLED), NotExecuted),
    Case("throttled without restore rate", a_body(errors=THROTTLED, extensions=a_cost(862, 572, 0)), NotExecuted),
    Case("429", a_status(429, retry_after=4.0), NotExecuted, retry_after=4.0),
    Case("temporarily unavailable", a_status(403, body={"errors": "Unavailable Shop"}), NotExecuted),
    Case("bad token", a_status(401), Refused, "Invalid API key", alarm=True),
    Case("frozen", a_status(402), Refused, "the shop is frozen", alarm=True),
    Case("scope", a_status(403), Refused, alarm=True),
    Case("wrong address", a_status(404), Refused, "Not Found", alarm=True),
    Case("locked", a_status(423), Refused, "the shop is locked", alarm=True),
    Case("security", a_status(430), Refused, "security", alarm=True),
    Case("moved", a_status(301), Refused, alarm=True),
    Case("bad request", a_status(400), Refused),
    Case("access denied", an_error("ACCESS_DENIED", path=[CREATE], data={CREATE: None}), Refused, alarm=True),
    Case("inactive", an_error("SHOP_INACTIVE"), Refused, alarm=True),
    Case("too expensive", an_error("MAX_COST_EXCEEDED"), Refused),
    Case("unknown field", an_error("undefinedField"), Refused, "undefinedField no luck"),
    Case("bad variable", an_error("INVALID_VARIABLE"), Refused),
    Case("not found", an_error("RESOURCE_NOT_FOUND", path=[CREATE], data={CREATE: None}), Refused),
    Case("user error", a_user_error("INVALID"), Refused, "INVALID basicCodeDiscount.endsAt no luck"),
    Case("new user error", a_user_error("MOON_PHASE"), Refused, "MOON_PHASE"),
    Case("user error without a code", a_user_error(None), Refused, "no luck"),
    Case("taken", a_user_error("TAKEN"), CodeTaken),
    Case("internal error as user error", a_user_error("INTERNAL_ERROR"), Unknown),
    Case("internal error", an_error("INTERNAL_SERVER_ERROR"), Unknown, "INTERNAL_SERVER_ERROR"),
    Case("internal error at the field", an_error("INTERNAL_SERVER_ERROR", path=[CREATE], data={CREATE: None}), Unknown),
    Case("new error", an_error("SOLAR_FLARE"), Unknown),
    Case("error without a code", a_body(errors=[{"message": "Something went wrong"}]), Unknown),
    Case("access denied below the mutation", an_error("ACCESS_DENIED", path=BELOW, data={CREATE: {}}), Unknown),
    Case("throttled and another error", a_body(errors=[*THROTTLED, {"message": "?"}]), Unknown),
    Case("errors as text", a_body(errors="Not Found"), Unknown),
    Case("no data", a_body(data=None), Unknown),
    Case("another field", a_body(data={"shop": {}}), Unknown),
    Case("an empty field", a_body(data={CREATE: None}), Unknown),
    Case("neither node nor error", a_body(data={CREATE: {"codeDiscountNode": None, "userErrors": []}}), Unknown),
    Case("broken JSON", {"kind": "broken_json"}, Unknown, "unreadable"),
    Case("HTML", a_status(200, body="<html><b>Hello</b></html>"), Unknown, "Hello"),
    *(Case(f"{status}", a_status(status), Unknown) for status in (408, 500, 502, 503, 504, 520, 540)),
    Case("dropped", {"kind": "drop"}, Unknown, "RemoteProtocolError"),
    Case("executed and dropped", {"kind": "execute_then_drop"}, Unknown, "RemoteProtocolError"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_every_create_response_has_one_outcome(shopify: Shopify, add_fault: AddFault, case: Case) -> None:
    await add_fault("shopify", operation=CREATE, **case.fault)

    with pytest.raises(VendorError) as caught:
        await shopify.create_discount(STORE, a_discount())

    case.check(caught.value)


@pytest.mark.parametrize("kind", ["drop", "execute_then_drop", "broken_json"])
async def test_lost_responses_of_other_calls_are_unknown(shopify: Shopify, add_fault: AddFault, kind: str) -> None:
    await add_fault("shopify", kind=kind, times=None)
    calls = [
        shopify.find_discount(STORE, "MAGE-ANY"),
        shopify.fence_code(STORE, a_discount()),
        shopify.delete_discount(STORE, "gid://shopify/DiscountCodeNode/1"),
        shopify.deactivate_discount(STORE, "gid://shopify/DiscountCodeNode/1"),
        shopify.set_loyalty_metafield(STORE, "4711", STATE),
    ]

    for call in calls:
        with pytest.raises(Unknown):
            await call


@pytest.mark.parametrize(
    ("operation", "discount"),
    [("productVariant", FREE_PRODUCT), ("collectionByIdentifier", FREE_PRODUCT_WITH_SPEND)],
    ids=["price", "collection"],
)
@pytest.mark.parametrize("kind", ["drop", "broken_json"])
async def test_a_failed_lookup_creates_nothing(
    shopify: Shopify, add_fault: AddFault, vendor_state: VendorState, operation: str, discount: Discount, kind: str
) -> None:
    await add_fault("shopify", operation=operation, kind=kind)

    with pytest.raises(NotExecuted):
        await shopify.create_discount(STORE, discount)

    assert (await vendor_state("shopify"))["discounts"] == []


@pytest.mark.parametrize("token", ["", "shpat_a\nb", "shpat_ä", "shpat_a b"])
async def test_an_invalid_token_is_never_sent(shopify: Shopify, vendor_state: VendorState, token: str) -> None:
    with pytest.raises(Refused) as refused:
        await shopify.create_discount(replace(STORE, access_token=SecretStr(token)), a_discount())

    assert refused.value.alarm
    assert (await vendor_state("shopify"))["requests"] == 0


async def test_reasons_are_redacted(shopify: Shopify, add_fault: AddFault) -> None:
    code, token = a_discount().code, STORE.access_token.get_secret_value()
    text = f"{code.lower()} for jane@shopper.io, +1 500 555-0006, with {token}; gid://shopify/Customer/7543211234567"
    await add_fault("shopify", **a_body(errors=[{"message": text, "extensions": {"code": "BAD_REQUEST"}}]))

    with pytest.raises(Refused) as refused:
        await shopify.create_discount(STORE, a_discount())

    assert refused.value.reason == "BAD_REQUEST […] for […], […], with […]; gid://shopify/Customer/7543211234567"
