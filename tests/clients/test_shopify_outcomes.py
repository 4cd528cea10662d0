"""Every answer Shopify is known to give, and the outcome it means."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from clients.outcomes import NotExecuted, Refused, Unknown, VendorError
from clients.shopify import CodeTaken, Shopify
from tests.clients.build import EVERY_KIND, STATE, STORE, a_discount
from tests.clients.conftest import ScriptFault, See

CREATE = "discountCodeBasicCreate"
BELOW = [CREATE, "codeDiscountNode"]


@dataclass(frozen=True)
class Case:
    id: str
    fault: dict[str, Any]
    outcome: type[VendorError]
    says: str = ""
    alarm: bool = False
    retry_after: float | None = None


def a_status(status: int, **fault: Any) -> dict[str, Any]:
    return {"kind": "status", "status": status, **fault}


def an_answer(**body: Any) -> dict[str, Any]:
    return a_status(200, body=body)


def an_error(code: str, **members: Any) -> dict[str, Any]:
    data = members.pop("data", "absent")
    body = {"errors": [{"message": "no luck", "extensions": {"code": code}, **members}]}
    return an_answer(**body) if data == "absent" else an_answer(**body, data=data)


def a_user_error(code: str | None) -> dict[str, Any]:
    error = {"field": ["basicCodeDiscount", "endsAt"], "code": code, "message": "no luck"}
    return an_answer(data={CREATE: {"codeDiscountNode": None, "userErrors": [error]}})


def a_cost(requested: float, available: float, rate: float) -> dict[str, Any]:
    status = {"maximumAvailable": 4000.0, "currentlyAvailable": available, "restoreRate": rate}
    return {"cost": {"requestedQueryCost": requested, "actualQueryCost": None, "throttleStatus": status}}


THROTTLED = [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]

CASES = [
    Case("nobody listens", {"kind": "down"}, NotExecuted, "ConnectError"),
    Case("throttled", {"kind": "throttled", "retry_after": 2.5}, NotExecuted, "THROTTLED", retry_after=2.5),
    Case(
        "throttled by the published figures",
        an_answer(errors=THROTTLED, extensions=a_cost(862, 572, 200)),
        NotExecuted,
        retry_after=1.45,
    ),
    Case("throttled without figures", an_answer(errors=THROTTLED), NotExecuted),
    Case("throttled for ever", an_answer(errors=THROTTLED, extensions=a_cost(862, 572, 0)), NotExecuted),
    Case("429", a_status(429, retry_after=4.0), NotExecuted, retry_after=4.0),
    Case(
        "unavailable for a moment",
        {"kind": "status", "status": 403, "body": {"errors": "Unavailable Shop"}},
        NotExecuted,
    ),
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
    Case("too dear", an_error("MAX_COST_EXCEEDED"), Refused),
    Case("unknown field", an_error("undefinedField"), Refused, "undefinedField no luck"),
    Case("bad variable", an_error("INVALID_VARIABLE"), Refused),
    Case("not found", an_error("RESOURCE_NOT_FOUND", path=[CREATE], data={CREATE: None}), Refused),
    Case("user error", a_user_error("INVALID"), Refused, "INVALID basicCodeDiscount.endsAt no luck"),
    Case("user error of tomorrow", a_user_error("MOON_PHASE"), Refused, "MOON_PHASE"),
    Case("user error without a code", a_user_error(None), Refused, "no luck"),
    Case("taken", a_user_error("TAKEN"), CodeTaken),
    Case("their own failure as a user error", a_user_error("INTERNAL_ERROR"), Unknown),
    Case("internal error", an_error("INTERNAL_SERVER_ERROR"), Unknown, "INTERNAL_SERVER_ERROR"),
    Case("internal error at the field", an_error("INTERNAL_SERVER_ERROR", path=[CREATE], data={CREATE: None}), Unknown),
    Case("an error of tomorrow", an_error("SOLAR_FLARE"), Unknown),
    Case("an error without a code", an_answer(errors=[{"message": "Something went wrong"}]), Unknown),
    Case("denied after it ran", an_error("ACCESS_DENIED", path=BELOW, data={CREATE: {}}), Unknown),
    Case("throttled and more", an_answer(errors=[*THROTTLED, {"message": "?"}]), Unknown),
    Case("errors as text", an_answer(errors="Not Found"), Unknown),
    Case("no data", an_answer(data=None), Unknown),
    Case("another field", an_answer(data={"shop": {}}), Unknown),
    Case("an empty field", an_answer(data={CREATE: None}), Unknown),
    Case("neither node nor error", an_answer(data={CREATE: {"codeDiscountNode": None, "userErrors": []}}), Unknown),
    Case("half a document", {"kind": "broken_json"}, Unknown, "unreadable"),
    Case("HTML", a_status(200, body="<html><b>Hello</b></html>"), Unknown, "Hello"),
    *(Case(f"{status}", a_status(status), Unknown) for status in (408, 500, 502, 503, 504, 520, 540)),
    Case("dropped", {"kind": "drop"}, Unknown, "RemoteProtocolError"),
    Case("done and dropped", {"kind": "execute_then_drop"}, Unknown, "RemoteProtocolError"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_every_answer_to_a_create_has_one_meaning(shopify: Shopify, script: ScriptFault, case: Case) -> None:
    await script("shopify", operation=CREATE, **case.fault)

    with pytest.raises(VendorError) as caught:
        await shopify.create_discount(STORE, a_discount())

    error = caught.value
    assert type(error) is case.outcome
    assert case.says in error.reason
    if isinstance(error, Refused):
        assert error.alarm == case.alarm
    if isinstance(error, NotExecuted):
        assert error.retry_after == (None if case.retry_after is None else timedelta(seconds=case.retry_after))


@pytest.mark.parametrize("kind", ["drop", "execute_then_drop", "broken_json"])
async def test_the_other_calls_say_unknown_too(shopify: Shopify, script: ScriptFault, kind: str) -> None:
    await script("shopify", kind=kind, times=None)
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


async def test_a_question_lost_before_the_create_means_that_nothing_was_made(
    shopify: Shopify, script: ScriptFault, see: See
) -> None:
    await script("shopify", operation="collectionByIdentifier", kind="drop")

    with pytest.raises(NotExecuted):
        await shopify.create_discount(STORE, EVERY_KIND[3])

    assert (await see("shopify"))["discounts"] == []


@pytest.mark.parametrize("token", ["", "shpat_a\nb", "shpat_ä", "shpat_a b"])
async def test_a_token_that_cannot_be_one_never_leaves(shopify: Shopify, see: See, token: str) -> None:
    with pytest.raises(Refused) as refused:
        await shopify.create_discount(replace(STORE, access_token=SecretStr(token)), a_discount())

    assert refused.value.alarm
    assert (await see("shopify"))["requests"] == 0


async def test_reasons_keep_secrets(shopify: Shopify, script: ScriptFault) -> None:
    code, token = a_discount().code, STORE.access_token.get_secret_value()
    words = f"{code.lower()} for jane@shopper.io, +1 500 555-0006, with {token}; gid://shopify/Customer/7543211234567"
    body = {"errors": [{"message": words, "extensions": {"code": "BAD_REQUEST"}}]}
    await script("shopify", kind="status", status=200, body=body)

    with pytest.raises(Refused) as refused:
        await shopify.create_discount(STORE, a_discount())

    assert refused.value.reason == "BAD_REQUEST […] for […], […], with […]; gid://shopify/Customer/7543211234567"
