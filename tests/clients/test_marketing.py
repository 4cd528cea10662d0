"""Klaviyo, Omnisend and Postscript: the events they receive, and the outcomes of their responses."""

from typing import Any

import httpx
import pytest

from clients.outcomes import NoRecipient, NotExecuted, Refused, Unknown, VendorError
from domain.events import EventKind
from tests.clients.build import KEYS, Case, a_status, an_event, send_event
from tests.clients.conftest import AddFault, StoreEvent, VendorState

every_vendor = pytest.mark.parametrize("vendor", KEYS)


def properties_of(vendor: str, event: dict[str, Any]) -> dict[str, Any]:
    return event["data"]["attributes"]["properties"] if vendor == "klaviyo" else event["properties"]


@every_vendor
async def test_every_vendor_gets_the_same_properties(vendor: str, store_event: StoreEvent) -> None:
    assert properties_of(vendor, await store_event(vendor)) == {
        "Reward Name": "$10 off",
        "Points Spent": 1000,
        "Discount Type": "fixed_amount",
        "redemption_id": "cer_1",
        "reward_id": "rew_1",
        "points_balance": 0,
        "discount_code": "MAGE-7K2Q9XWDFM",
        "discount_value": 10.0,
        "currency": "USD",
        "expires_at": "2027-02-21T12:00:00.000Z",
    }


@every_vendor
async def test_a_refund_is_a_separate_event(vendor: str, store_event: StoreEvent) -> None:
    await store_event(vendor)
    refunded = await store_event(vendor, kind=EventKind.REWARD_REFUNDED)

    properties = properties_of(vendor, refunded)
    assert (properties["Points Refunded"], "Points Spent" in properties) == (1000, False)
    assert "Reward Refunded" in str(refunded).replace("_", " ")
    assert str(an_event().event_id) not in str(refunded)


@every_vendor
async def test_missing_values_are_absent_not_null(vendor: str, store_event: StoreEvent) -> None:
    event = await store_event(vendor, discount_value=None, expires_at=None, phone=None)

    assert not {"discount_value", "expires_at"} & properties_of(vendor, event).keys()
    assert "None" not in str(event)


@every_vendor
async def test_a_retry_sends_identical_bytes(vendor: str, http: httpx.AsyncClient) -> None:
    sent: list[bytes] = []

    async def record(request: httpx.Request) -> None:
        sent.append(request.content)

    http.event_hooks["request"].append(record)
    await send_event(vendor, http)
    await send_event(vendor, http)

    assert sent[0] == sent[1]
    assert str(an_event().event_id).encode() in sent[0]


@pytest.mark.parametrize(("vendor", "stored"), [("klaviyo", 1), ("omnisend", 2), ("postscript", 2)])
async def test_only_klaviyo_drops_repeats(
    vendor: str, stored: int, store_event: StoreEvent, vendor_state: VendorState
) -> None:
    await store_event(vendor)
    await store_event(vendor)

    state = await vendor_state(vendor)
    assert (len(state["events"]), state["duplicates"]) == (stored, 2 - stored)


async def test_klaviyo_gets_the_balance_as_profile_property(store_event: StoreEvent) -> None:
    attributes = (await store_event("klaviyo"))["data"]["attributes"]

    assert attributes["metric"]["data"]["attributes"] == {"name": "Reward Redeemed"}
    assert attributes["time"] == "2026-11-23T12:00:00.123Z"
    assert attributes["profile"]["data"]["attributes"] == {
        "email": "jane@shopper.io",
        "phone_number": "+15005550006",
        "external_id": "4711",
        "properties": {"loyalty_points_balance": 0},
    }


@pytest.mark.parametrize("phone", ["555-0006", "15005550006", "+0123456789", "+1 500 555 0006", ""])
@every_vendor
async def test_an_invalid_phone_number_is_omitted(vendor: str, store_event: StoreEvent, phone: str) -> None:
    assert "phone" not in str(await store_event(vendor, phone=phone))


@pytest.mark.parametrize("vendor", ["omnisend", "postscript"])
async def test_an_event_without_contact_data_is_not_sent(
    vendor: str, http: httpx.AsyncClient, vendor_state: VendorState
) -> None:
    with pytest.raises(NoRecipient, match="neither an e-mail address nor a phone number"):
        await send_event(vendor, http, email=None, phone="call me")

    assert (await vendor_state(vendor))["requests"] == 0


async def test_klaviyo_needs_only_the_customer_id(store_event: StoreEvent) -> None:
    assert await store_event("klaviyo", email="jane at home", phone=None)


async def test_omnisend_gets_at_most_fifteen_phone_characters(store_event: StoreEvent) -> None:
    event = await store_event("omnisend", phone="+123456789012345")

    assert event["contact"] == {"email": "jane@shopper.io"}


async def test_postscript_has_its_own_name_and_time_format(store_event: StoreEvent) -> None:
    event = await store_event("postscript")

    assert (event["type"], event["occurred_at"]) == ("Reward_Redeemed", "2026-11-23 12:00:00.123456")


THROTTLED = {"kind": "throttled", "retry_after": 7}
CASES = [
    Case("connection refused", {"kind": "down"}, NotExecuted),
    Case("throttled", THROTTLED, NotExecuted, retry_after=7, vendors=("klaviyo", "omnisend")),
    Case("throttled without a waiting time", THROTTLED, NotExecuted, vendors=("postscript",)),
    Case("3002 with another status", a_status(400, body={"error_code": 3002}), NotExecuted, vendors=("postscript",)),
    *(Case(str(status), a_status(status), Refused) for status in (400, 409, 413, 415, 422)),
    *(Case(str(status), a_status(status), Refused, alarm=True) for status in (301, 401, 403, 404, 410)),
    *(Case(str(status), a_status(status), Unknown) for status in (408, 500, 502, 503, 504, 524)),
    Case("broken JSON", {"kind": "broken_json"}, Unknown),
    Case("HTML with status 200", a_status(200, body="<html>Hi</html>"), Unknown),
    Case("no event ids", a_status(202, body={"success": True}), Unknown, vendors=("postscript",)),
    Case("dropped", {"kind": "drop"}, Unknown),
    Case("executed and dropped", {"kind": "execute_then_drop"}, Unknown),
]


@pytest.mark.parametrize(
    ("vendor", "case"),
    [pytest.param(vendor, case, id=f"{vendor}-{case.id}") for case in CASES for vendor in case.vendors],
)
async def test_every_response_has_one_outcome(
    vendor: str, case: Case, http: httpx.AsyncClient, add_fault: AddFault
) -> None:
    await add_fault(vendor, **case.fault)

    with pytest.raises(VendorError) as caught:
        await send_event(vendor, http)

    case.check(caught.value)


async def test_a_cloudflare_challenge_is_unknown() -> None:
    challenge = httpx.Response(403, headers={"cf-mitigated": "challenge"}, html="<html>Just a moment...</html>")

    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: challenge)) as http:
        with pytest.raises(Unknown, match="Cloudflare"):
            await send_event("klaviyo", http)


@every_vendor
async def test_reasons_are_redacted(vendor: str, http: httpx.AsyncClient, add_fault: AddFault) -> None:
    event, key = an_event(), KEYS[vendor]
    text = f"{event.email} {event.phone} {event.discount_code} {key} is bad"
    error = {"code": "invalid", "title": text, "detail": text, "message": text, "field": "x"}
    await add_fault(vendor, **a_status(400, body={"errors": [error], "detail": text, "error_message": text}))

    with pytest.raises(Refused) as refused:
        await send_event(vendor, http)

    assert "is bad" in refused.value.reason
    for secret in ("jane", "shopper.io", "5005550006", "7K2Q9XWDFM", key):
        assert secret not in refused.value.reason


@every_vendor
async def test_an_invalid_key_raises_an_alarm(vendor: str, http: httpx.AsyncClient) -> None:
    with pytest.raises(Refused) as refused:
        await send_event(vendor, http, key="pk_\n")

    assert refused.value.alarm


@every_vendor
async def test_unknown_response_fields_are_ignored(
    vendor: str, http: httpx.AsyncClient, add_fault: AddFault, vendor_state: VendorState
) -> None:
    await add_fault(vendor, **a_status(202, body={"event_ids": ["1"], "mood": {"sunny": True}}))

    await send_event(vendor, http)

    assert (await vendor_state(vendor))["requests"] == 1
