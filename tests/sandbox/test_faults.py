"""Faults on demand: what each kind does, for whom, and how often."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from sandbox.app import create_app
from sandbox.transport import SandboxTransport
from tests.sandbox.conftest import SHOP, TOKEN, Ask

FAULTS = "/_sandbox/shopify/faults"
FIND = {"query": '{ codeDiscountNodeByCode(code: "FIVE") { id } }'}


async def script(http: httpx.AsyncClient, **fault: Any) -> None:
    response = await http.post(FAULTS, json=fault)
    assert response.status_code == 201, response.text


async def outcomes(http: httpx.AsyncClient) -> list[str]:
    return [call["outcome"] for call in (await http.get("/_sandbox/shopify")).json()["calls"]]


async def discounts(http: httpx.AsyncClient) -> int:
    return len((await http.get("/_sandbox/shopify")).json()["discounts"])


@pytest.mark.parametrize(
    ("kind", "broken", "executed"),
    [
        ("drop", httpx.RemoteProtocolError, 0),
        ("execute_then_drop", httpx.RemoteProtocolError, 1),
        ("down", httpx.ConnectError, 0),
    ],
)
async def test_a_connection_breaks_before_or_after_executing(
    http: httpx.AsyncClient, create: Ask, kind: str, broken: type[Exception], executed: int
) -> None:
    await script(http, kind=kind)

    with pytest.raises(broken):
        await create()

    assert await discounts(http) == executed


async def test_a_late_execution_comes_after_the_connection_broke(http: httpx.AsyncClient, create: Ask) -> None:
    await script(http, kind="execute_late", seconds=0.05)

    with pytest.raises(httpx.RemoteProtocolError):
        await create()

    assert await discounts(http) == 0
    await asyncio.sleep(0.1)
    assert await discounts(http) == 1


async def test_a_late_execution_does_not_survive_a_reset(http: httpx.AsyncClient, create: Ask) -> None:
    await script(http, kind="execute_late", seconds=0.05)
    with pytest.raises(httpx.RemoteProtocolError):
        await create()

    await http.delete("/_sandbox")
    await asyncio.sleep(0.1)

    assert await discounts(http) == 0


async def test_a_broken_answer_was_executed(http: httpx.AsyncClient) -> None:
    await script(http, kind="broken_json")

    response = await http.post(SHOP, headers=TOKEN, json=FIND)

    assert response.status_code == 200
    with pytest.raises(ValueError, match="Expecting"):
        response.json()
    assert await outcomes(http) == ["ok"]


async def test_latency_comes_on_top_of_what_follows(http: httpx.AsyncClient) -> None:
    await script(http, kind="latency", seconds=0.05)
    await script(http, kind="status", status=502)

    started = time.monotonic()
    response = await http.post(SHOP, headers=TOKEN, json=FIND)

    assert response.status_code == 502
    assert time.monotonic() - started >= 0.05


async def test_a_caller_who_stops_waiting_does_not_stop_the_vendor(http: httpx.AsyncClient, create: Ask) -> None:
    await script(http, kind="latency", seconds=0.1)
    http.timeout = httpx.Timeout(0.02)

    with pytest.raises(httpx.ReadTimeout):
        await create()

    await asyncio.sleep(0.15)
    assert await discounts(http) == 1


async def test_a_fault_meets_its_operation_as_often_as_asked(http: httpx.AsyncClient, create: Ask) -> None:
    await script(http, kind="status", operation="codeDiscountNodeByCode", times=2)

    await create()
    answers = [await http.post(SHOP, headers=TOKEN, json=FIND) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert (await http.get("/_sandbox/shopify")).json()["faults"] == []


async def test_a_vendor_is_down_until_it_is_cleared(http: httpx.AsyncClient) -> None:
    await script(http, kind="down")
    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            await http.post(SHOP, headers=TOKEN, json=FIND)

    await http.delete(FAULTS)

    assert (await http.post(SHOP, headers=TOKEN, json=FIND)).status_code == 200


async def test_chance_can_be_repeated() -> None:
    first, second = [await forty_requests() for _ in range(2)]

    assert first == second
    assert 5 < first.count(503) < 35


async def forty_requests() -> list[int]:
    async with httpx.AsyncClient(transport=SandboxTransport(create_app()), base_url="http://sandbox") as http:
        await script(http, kind="status", times=None, probability=0.5, seed=7)
        return [(await http.post(SHOP, headers=TOKEN, json=FIND)).status_code for _ in range(40)]


@pytest.mark.parametrize(
    ("vendor", "fault", "says"),
    [
        ("shopify", {"kind": "explode"}, "kind"),
        ("shopify", {"kind": "drop", "tmies": 3}, "tmies"),
        ("shopify", {"kind": "drop", "times": 0}, "times"),
        ("shopify", {"kind": "drop", "operation": "discountCodeCreate"}, "discountCodeBasicCreate"),
        ("shopify", {"kind": "latency"}, "needs `seconds`"),
        ("klaviyo", {"kind": "drop", "operation": "discountCodeBasicCreate"}, "operations: events"),
        ("klaviyo", {"kind": "drop", "probability": 1.5}, "probability"),
    ],
)
async def test_a_fault_nobody_understands_is_refused(
    http: httpx.AsyncClient, vendor: str, fault: dict[str, Any], says: str
) -> None:
    response = await http.post(f"/_sandbox/{vendor}/faults", json=fault)

    assert response.status_code == 422
    assert says in response.text


async def test_only_four_vendors_are_played(http: httpx.AsyncClient) -> None:
    response = await http.get("/_sandbox/mailchimp")

    assert response.status_code == 404
    assert "klaviyo" in response.text


async def test_a_reset_forgets_everything(http: httpx.AsyncClient, create: Ask) -> None:
    await script(http, kind="latency", seconds=0.01, times=None)
    await create()

    await http.delete("/_sandbox")

    empty: dict[str, Any] = {"requests": 0, "discounts": [], "metafields": [], "calls": [], "faults": []}
    assert (await http.get("/_sandbox/shopify")).json() == empty
