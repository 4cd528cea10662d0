"""Faults: the effect of each kind, the requests it applies to, and how often."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.sandbox.conftest import SHOP, AddFault, Execute, VendorState, find


@pytest.mark.parametrize(
    ("kind", "error", "executed"),
    [
        ("drop", httpx.RemoteProtocolError, 0),
        ("execute_then_drop", httpx.RemoteProtocolError, 1),
        ("down", httpx.ConnectError, 0),
    ],
)
async def test_a_connection_fails_before_or_after_executing(
    add_fault: AddFault, create: Execute, vendor_state: VendorState, kind: str, error: type[Exception], executed: int
) -> None:
    await add_fault("shopify", kind=kind)

    with pytest.raises(error):
        await create()

    assert len((await vendor_state("shopify"))["discounts"]) == executed


@pytest.mark.parametrize("reset", [False, True])
async def test_only_a_reset_cancels_a_late_execution(
    http: httpx.AsyncClient, add_fault: AddFault, create: Execute, vendor_state: VendorState, *, reset: bool
) -> None:
    await add_fault("shopify", kind="execute_late", seconds=0.05)
    with pytest.raises(httpx.RemoteProtocolError):
        await create()
    assert (await vendor_state("shopify"))["discounts"] == []

    if reset:
        await http.delete("/_sandbox")
    await asyncio.sleep(0.1)

    assert len((await vendor_state("shopify"))["discounts"]) == (not reset)


async def test_broken_json_is_sent_after_executing(
    http: httpx.AsyncClient, add_fault: AddFault, vendor_state: VendorState
) -> None:
    await add_fault("shopify", kind="broken_json")

    response = await find(http)

    assert response.status_code == 200
    with pytest.raises(ValueError, match="Expecting"):
        response.json()
    assert [call["outcome"] for call in (await vendor_state("shopify"))["calls"]] == ["ok"]


async def test_a_hanging_vendor_answers_nothing(
    http: httpx.AsyncClient, add_fault: AddFault, create: Execute, vendor_state: VendorState
) -> None:
    await add_fault("shopify", kind="hang")
    await add_fault("shopify", kind="hang", seconds=0.05)
    http.timeout = httpx.Timeout(0.1)

    with pytest.raises(httpx.ReadTimeout):
        await create()
    with pytest.raises(httpx.RemoteProtocolError):
        await create()

    assert (await vendor_state("shopify"))["discounts"] == []


async def test_a_trickling_vendor_has_executed(
    http: httpx.AsyncClient, add_fault: AddFault, vendor_state: VendorState
) -> None:
    await add_fault("postscript", kind="trickle")
    event: dict[str, Any] = {"type": "Reward_Redeemed", "properties": {}}

    received = bytearray()
    headers = {"Authorization": "Bearer sk_x"}
    async with http.stream("POST", "/postscript/api/v2/events", headers=headers, json=event) as response:
        with suppress(TimeoutError):
            async with asyncio.timeout(2.5):
                async for part in response.aiter_bytes():
                    received += part

    assert (response.status_code, bytes(received)) == (202, b'{"')
    assert (await vendor_state("postscript"))["events"] == [event]


async def test_a_fault_is_limited_to_a_shop(http: httpx.AsyncClient, add_fault: AddFault) -> None:
    await add_fault("shopify", kind="status", account="corner-shop.myshopify.com")
    await add_fault("klaviyo", kind="status", account="pk_corner")

    shops = ("other-shop.myshopify.com", "corner-shop.myshopify.com")
    found = [await find(http, path=SHOP.replace("corner-shop.myshopify.com", shop)) for shop in shops]
    sent = [
        await http.post("/klaviyo/api/events", headers={"Authorization": f"Klaviyo-API-Key {key}"}, json={})
        for key in ("pk_other", "pk_corner")
    ]

    assert [response.status_code for response in found] == [200, 503]
    assert [response.status_code for response in sent] == [415, 503]


async def test_latency_adds_to_the_next_fault(http: httpx.AsyncClient, add_fault: AddFault) -> None:
    await add_fault("shopify", kind="latency", seconds=0.05)
    await add_fault("shopify", kind="status", status=502)

    started = time.monotonic()
    response = await find(http)

    assert response.status_code == 502
    assert time.monotonic() - started >= 0.05


async def test_a_client_timeout_does_not_stop_execution(
    http: httpx.AsyncClient, add_fault: AddFault, create: Execute, vendor_state: VendorState
) -> None:
    await add_fault("shopify", kind="latency", seconds=0.1)
    http.timeout = httpx.Timeout(0.02)

    with pytest.raises(httpx.ReadTimeout):
        await create()

    await asyncio.sleep(0.15)
    assert len((await vendor_state("shopify"))["discounts"]) == 1


async def test_a_fault_is_limited_by_operation_and_times(
    http: httpx.AsyncClient, add_fault: AddFault, create: Execute, vendor_state: VendorState
) -> None:
    await add_fault("shopify", kind="status", operation="codeDiscountNodeByCode", times=2)

    await create()
    responses = [await find(http) for _ in range(3)]

    assert [response.status_code for response in responses] == [503, 503, 200]
    assert (await vendor_state("shopify"))["faults"] == []


async def test_a_vendor_is_down_until_cleared(http: httpx.AsyncClient, add_fault: AddFault) -> None:
    await add_fault("shopify", kind="down")
    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            await find(http)

    await http.delete("/_sandbox/shopify/faults")

    assert (await find(http)).status_code == 200


async def test_a_seed_repeats_random_faults(http: httpx.AsyncClient, add_fault: AddFault) -> None:
    runs: list[list[int]] = []
    for _ in range(2):
        await http.delete("/_sandbox")
        await add_fault("shopify", kind="status", times=None, probability=0.5, seed=7)
        runs.append([(await find(http)).status_code for _ in range(40)])

    assert runs[0] == runs[1]
    assert 5 < runs[0].count(503) < 35


@pytest.mark.parametrize(
    ("vendor", "fault", "detail"),
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
async def test_an_invalid_fault_is_rejected(
    http: httpx.AsyncClient, vendor: str, fault: dict[str, Any], detail: str
) -> None:
    response = await http.post(f"/_sandbox/{vendor}/faults", json=fault)

    assert response.status_code == 422
    assert detail in response.text


async def test_an_unknown_vendor_is_not_found(http: httpx.AsyncClient) -> None:
    response = await http.get("/_sandbox/mailchimp")

    assert response.status_code == 404
    assert "klaviyo" in response.text


async def test_a_reset_clears_everything(
    http: httpx.AsyncClient, add_fault: AddFault, create: Execute, vendor_state: VendorState
) -> None:
    await add_fault("shopify", kind="latency", seconds=0.01, times=None)
    await create()

    await http.delete("/_sandbox")

    empty: dict[str, Any] = {"requests": 0, "discounts": [], "metafields": [], "calls": [], "faults": []}
    assert await vendor_state("shopify") == empty
