"""What happens to one redemption, told to three marketing vendors."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import httpx
import pytest
from pydantic import SecretStr

from clients.klaviyo import Klaviyo
from clients.omnisend import Omnisend
from clients.outcomes import NotExecuted, Refused, Unknown, VendorError
from clients.postscript import Postscript
from domain.events import EventKind, RewardEvent
from tests.clients.build import an_event
from tests.clients.conftest import ScriptFault, See

KEYS = {"klaviyo": "pk_0123456789", "omnisend": "0123-abcdef", "postscript": "sk_0123456789"}
VENDORS = list(KEYS)


class Channel(Protocol):
    async def send_event(self, api_key: SecretStr, event: RewardEvent) -> None: ...


def channel(vendor: str, http: httpx.AsyncClient) -> Channel:
    match vendor:
        case "klaviyo":
            return Klaviyo(http, base_url="https://sandbox/klaviyo", revision="2026-10-15")
        case "omnisend":
            return Omnisend(http, base_url="https://sandbox/omnisend/", version="2026-03-15")
        case _:
            return Postscript(http, base_url="https://sandbox/postscript")


async def send(vendor: str, http: httpx.AsyncClient, **changes: Any) -> None:
    await channel(vendor, http).send_event(SecretStr(KEYS[vendor]), an_event(**changes))


def properties_of(vendor: str, event: dict[str, Any]) -> dict[str, Any]:
    return event["data"]["attributes"]["properties"] if vendor == "klaviyo" else event["properties"]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_every_vendor_gets_the_same_flat_properties(vendor: str, http: httpx.AsyncClient, see: See) -> None:
    await send(vendor, http)

    [event] = (await see(vendor))["events"]

    assert properties_of(vendor, event) == {
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


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_refund_is_an_event_of_its_own(vendor: str, http: httpx.AsyncClient, see: See) -> None:
    await send(vendor, http)
    await send(vendor, http, kind=EventKind.REWARD_REFUNDED)

    _, refunded = (await see(vendor))["events"]

    told = properties_of(vendor, refunded)
    assert (told["Points Refunded"], "Points Spent" in told) == (1000, False)
    assert "Reward Refunded" in str(refunded).replace("_", " ")
    assert str(an_event().event_id) not in str(refunded)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_what_there_is_not_is_absent_rather_than_null(vendor: str, http: httpx.AsyncClient, see: See) -> None:
    await send(vendor, http, discount_value=None, expires_at=None, phone=None)

    [event] = (await see(vendor))["events"]

    assert not {"discount_value", "expires_at"} & properties_of(vendor, event).keys()
    assert "None" not in str(event)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_retry_is_byte_for_byte_the_same(vendor: str, http: httpx.AsyncClient) -> None:
    sent: list[bytes] = []

    async def remember(request: httpx.Request) -> None:
        sent.append(request.content)

    http.event_hooks["request"].append(remember)
    await send(vendor, http)
    await send(vendor, http)

    assert sent[0] == sent[1]
    assert str(an_event().event_id).encode() in sent[0]


async def test_klaviyo_drops_a_repeat_and_the_others_do_not(http: httpx.AsyncClient, see: See) -> None:
    kept: dict[str, int] = {}
    for vendor in VENDORS:
        await send(vendor, http)
        await send(vendor, http)
        kept[vendor] = len((await see(vendor))["events"])

    assert kept == {"klaviyo": 1, "omnisend": 2, "postscript": 2}
    assert (await see("klaviyo"))["duplicates"] == 1


async def test_klaviyo_learns_the_balance_on_the_profile(http: httpx.AsyncClient, see: See) -> None:
    await send("klaviyo", http)

    [event] = (await see("klaviyo"))["events"]

    attributes = event["data"]["attributes"]
    assert attributes["metric"]["data"]["attributes"] == {"name": "Reward Redeemed"}
    assert attributes["time"] == "2026-11-23T12:00:00.123Z"
    assert attributes["profile"]["data"]["attributes"] == {
        "email": "jane@shopper.io",
        "phone_number": "+15005550006",
        "external_id": "4711",
        "properties": {"loyalty_points_balance": 0},
    }


@pytest.mark.parametrize("phone", ["555-0006", "15005550006", "+0123456789", "+1 500 555 0006", ""])
@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_phone_number_that_is_none_is_not_sent(
    vendor: str, http: httpx.AsyncClient, see: See, phone: str
) -> None:
    await send(vendor, http, phone=phone)

    [event] = (await see(vendor))["events"]

    assert "phone" not in str(event)


@pytest.mark.parametrize("vendor", ["omnisend", "postscript"])
async def test_a_customer_nobody_can_write_to_is_not_announced(vendor: str, http: httpx.AsyncClient, see: See) -> None:
    with pytest.raises(Refused, match="neither an e-mail address nor a phone number") as refused:
        await send(vendor, http, email=None, phone="call me")

    assert not refused.value.alarm
    assert (await see(vendor))["requests"] == 0


async def test_klaviyo_knows_a_customer_by_shopifys_id_alone(http: httpx.AsyncClient, see: See) -> None:
    await send("klaviyo", http, email="jane at home", phone=None)

    assert len((await see("klaviyo"))["events"]) == 1


async def test_omnisend_takes_no_number_of_sixteen_characters(http: httpx.AsyncClient, see: See) -> None:
    await send("omnisend", http, phone="+123456789012345")

    [event] = (await see("omnisend"))["events"]

    assert event["contact"] == {"email": "jane@shopper.io"}


async def test_postscript_has_its_own_spelling(http: httpx.AsyncClient, see: See) -> None:
    await send("postscript", http)

    [event] = (await see("postscript"))["events"]

    assert (event["type"], event["occurred_at"]) == ("Reward_Redeemed", "2026-11-23 12:00:00.123456")


@dataclass(frozen=True)
class Case:
    id: str
    fault: dict[str, Any]
    outcome: type[VendorError]
    alarm: bool = False
    vendors: tuple[str, ...] = ("klaviyo", "omnisend", "postscript")


def a_status(status: int, **fault: Any) -> dict[str, Any]:
    return {"kind": "status", "status": status, **fault}


CASES = [
    Case("nobody listens", {"kind": "down"}, NotExecuted),
    Case("throttled", {"kind": "throttled", "retry_after": 7}, NotExecuted),
    Case("3002 under another status", a_status(400, body={"error_code": 3002}), NotExecuted, vendors=("postscript",)),
    *(Case(str(status), a_status(status), Refused) for status in (400, 409, 413, 415, 422)),
    *(Case(str(status), a_status(status), Refused, alarm=True) for status in (301, 401, 403, 404, 410)),
    *(Case(str(status), a_status(status), Unknown) for status in (408, 500, 502, 503, 504, 524)),
    Case("half a document", {"kind": "broken_json"}, Unknown),
    Case("HTML that says 200", a_status(200, body="<html>Hi</html>"), Unknown),
    Case("no word about the event", a_status(202, body={"success": True}), Unknown, vendors=("postscript",)),
    Case("dropped", {"kind": "drop"}, Unknown),
    Case("done and dropped", {"kind": "execute_then_drop"}, Unknown),
]


@pytest.mark.parametrize(
    ("vendor", "case"),
    [pytest.param(vendor, case, id=f"{vendor}-{case.id}") for case in CASES for vendor in case.vendors],
)
async def test_every_answer_has_one_meaning(
    vendor: str, case: Case, http: httpx.AsyncClient, script: ScriptFault
) -> None:
    await script(vendor, **case.fault)

    with pytest.raises(VendorError) as caught:
        await send(vendor, http)

    assert type(caught.value) is case.outcome
    if isinstance(caught.value, Refused):
        assert caught.value.alarm == case.alarm


@pytest.mark.parametrize(("vendor", "wait"), [("klaviyo", 7), ("omnisend", 7), ("postscript", None)])
async def test_a_vendor_is_left_alone_as_long_as_it_asks(
    vendor: str, wait: int | None, http: httpx.AsyncClient, script: ScriptFault
) -> None:
    await script(vendor, kind="throttled", retry_after=7)

    with pytest.raises(NotExecuted) as caught:
        await send(vendor, http)

    assert caught.value.retry_after == (None if wait is None else timedelta(seconds=wait))


async def test_a_challenge_in_front_of_klaviyo_is_no_word_of_klaviyos() -> None:
    challenge = httpx.Response(403, headers={"cf-mitigated": "challenge"}, html="<html>Just a moment...</html>")

    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: challenge)) as http:
        with pytest.raises(Unknown, match="Cloudflare"):
            await send("klaviyo", http)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_reasons_keep_secrets(vendor: str, http: httpx.AsyncClient, script: ScriptFault) -> None:
    event, key = an_event(), KEYS[vendor]
    words = f"{event.email} {event.phone} {event.discount_code} {key} is bad"
    error = {"code": "invalid", "title": words, "detail": words, "message": words, "field": "x"}
    await script(vendor, kind="status", status=400, body={"errors": [error], "detail": words, "error_message": words})

    with pytest.raises(Refused) as refused:
        await send(vendor, http)

    assert "is bad" in refused.value.reason
    for secret in ("jane", "shopper.io", "5005550006", "7K2Q9XWDFM", key):
        assert secret not in refused.value.reason


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_key_that_cannot_be_one_is_the_merchants_matter(vendor: str, http: httpx.AsyncClient) -> None:
    with pytest.raises(Refused) as refused:
        await channel(vendor, http).send_event(SecretStr("pk_\n"), an_event())

    assert refused.value.alarm


@pytest.mark.parametrize("vendor", VENDORS)
async def test_what_vendors_add_tomorrow_does_no_harm(
    vendor: str, http: httpx.AsyncClient, script: ScriptFault, see: See
) -> None:
    await script(vendor, kind="status", status=202, body={"event_ids": ["1"], "mood": {"sunny": True}})

    await send(vendor, http)

    assert (await see(vendor))["requests"] == 1
