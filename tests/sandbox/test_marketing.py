"""The simulated marketing vendors reject the same requests as the real ones."""

from typing import Any

import httpx
import pytest

from tests.sandbox.conftest import AddFault, VendorState

KLAVIYO = {
    "Authorization": "Klaviyo-API-Key pk_x",
    "revision": "2026-10-15",
    "Content-Type": "application/vnd.api+json",
}
OMNISEND = {"Authorization": "Omnisend-API-Key x", "Omnisend-Version": "2026-03-15"}
POSTSCRIPT = {"Authorization": "Bearer sk_x"}


def without(headers: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key != name}


def klaviyo_event(**profile: Any) -> dict[str, Any]:
    metric = {"data": {"type": "metric", "attributes": {"name": "Reward Redeemed"}}}
    profile_data = {"data": {"type": "profile", "attributes": profile}}
    attributes = {"properties": {}, "metric": metric, "profile": profile_data, "unique_id": "1"}
    return {"data": {"type": "event", "attributes": attributes}}


JANE = klaviyo_event(email="jane@shopper.io")
OMNI = {"eventName": "Reward Redeemed", "origin": "api", "contact": {"email": "jane@shopper.io"}}
TEXT = {"type": "Reward_Redeemed"}


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/klaviyo/api/events", KLAVIYO, JANE, 202),
        ("/klaviyo/api/events", KLAVIYO | {"Authorization": "Bearer x"}, JANE, 401),
        ("/klaviyo/api/events", KLAVIYO | {"Content-Type": "application/json"}, JANE, 415),
        ("/klaviyo/api/events", without(KLAVIYO, "revision"), JANE, 400),
        ("/klaviyo/api/events", KLAVIYO, klaviyo_event(), 400),
        ("/klaviyo/api/events", KLAVIYO, klaviyo_event(email="jane@shopper.io", phone_number="555"), 400),
        ("/klaviyo/api/events", KLAVIYO, {"data": {"type": "event"}}, 400),
        ("/klaviyo/api/events", KLAVIYO, [], 400),
        ("/omnisend/api/events", OMNISEND, OMNI, 202),
        ("/omnisend/api/events", without(OMNISEND, "Authorization"), OMNI, 401),
        ("/omnisend/api/events", without(OMNISEND, "Omnisend-Version"), OMNI, 400),
        ("/omnisend/api/events", OMNISEND, OMNI | {"contact": {}}, 400),
        ("/omnisend/api/events", OMNISEND, OMNI | {"origin": ""}, 400),
        ("/postscript/api/v2/events", POSTSCRIPT, TEXT, 202),
        ("/postscript/api/v2/events", {"Authorization": "Bearer pk_x"}, TEXT, 401),
        ("/postscript/api/v2/events", POSTSCRIPT, {"type": "Reward Redeemed"}, 400),
    ],
)
async def test_only_valid_events_are_accepted(
    http: httpx.AsyncClient, vendor_state: VendorState, path: str, headers: dict[str, str], body: Any, status: int
) -> None:
    response = await http.post(path, headers=headers, json=body)

    assert response.status_code == status, response.text
    state = await vendor_state(path.split("/")[1])
    assert (len(state["events"]), state["requests"]) == (status == 202, 1)


async def test_klaviyo_drops_repeats_per_profile(http: httpx.AsyncClient, vendor_state: VendorState) -> None:
    for event in (JANE, JANE, klaviyo_event(email="joe@shopper.io")):
        await http.post("/klaviyo/api/events", headers=KLAVIYO, json=event)

    state = await vendor_state("klaviyo")
    assert (len(state["events"]), state["duplicates"]) == (2, 1)


async def test_each_vendor_has_its_own_rate_limit_response(http: httpx.AsyncClient, add_fault: AddFault) -> None:
    for vendor in ("klaviyo", "omnisend", "postscript"):
        await add_fault(vendor, kind="throttled", retry_after=3)

    klaviyo = await http.post("/klaviyo/api/events", headers=KLAVIYO, json=JANE)
    omnisend = await http.post("/omnisend/api/events", headers=OMNISEND, json=OMNI)
    postscript = await http.post("/postscript/api/v2/events", headers=POSTSCRIPT, json=TEXT)

    assert [response.status_code for response in (klaviyo, omnisend, postscript)] == [429, 429, 429]
    assert klaviyo.headers["Retry-After"] == "3"
    assert omnisend.json()["retryAfter"] == 3
    assert postscript.json() == {"error_code": 3002, "error_message": "Rate limit exceeded", "success": False}
