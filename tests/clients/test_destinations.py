"""Destinations that hang or answer too much: what a call, and what all calls together, may take of the worker."""

import asyncio
import gzip
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import httpx
import pytest

from clients.destinations import TIMEOUTS_TO_OPEN, Destination, Limits
from clients.outcomes import NotExecuted, Unknown, VendorError
from clients.vendor_http import VendorHttp
from tests.unfriendly import Answer, answering, flood, hang, redirect, trickle

LIMITS = Limits(in_flight=3, open_seconds=30)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("clients.destinations._now", clock)
    return clock


@pytest.fixture
async def http() -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as http:
        yield http


async def post(http: httpx.AsyncClient, url: str) -> httpx.Response:
    return await VendorHttp("Klaviyo", http, seconds=0.5, limits=LIMITS).post(url, headers={}, body={})


async def call(destination: Destination, error: Exception | None = None) -> None:
    """One call that ends at once."""
    async with destination.call():
        if error is not None:
            raise error


async def time_out(destination: Destination, times: int = TIMEOUTS_TO_OPEN) -> None:
    for _ in range(times):
        with pytest.raises(TimeoutError):
            await call(destination, TimeoutError())


async def an_open_one() -> Destination:
    destination = Destination("Klaviyo", LIMITS)
    await time_out(destination)
    return destination


@pytest.mark.parametrize("answer", [hang, trickle])
async def test_a_call_ends_although_its_answer_does_not(http: httpx.AsyncClient, answer: Answer) -> None:
    async with answering(answer) as vendor, asyncio.timeout(5):
        with pytest.raises(Unknown, match=r"no complete response|ReadTimeout"):
            await post(http, vendor.url)


async def test_a_giant_response_is_not_read(http: httpx.AsyncClient) -> None:
    async with answering(flood) as vendor, asyncio.timeout(5):
        with pytest.raises(Unknown, match="a response over 1048576 bytes"):
            await post(http, vendor.url)


async def test_a_vendors_redirect_is_not_followed() -> None:
    # Even by a client that follows redirects.
    async with answering(redirect) as vendor, httpx.AsyncClient(follow_redirects=True) as http:
        answer = await post(http, vendor.url)

    assert (answer.status_code, vendor.connections) == (307, 1)


async def test_a_compressed_response_is_read() -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=gzip.compress(b'{"ok": true}'))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        assert (await post(http, "http://vendor/")).json() == {"ok": True}


async def test_calls_above_the_limit_are_held(monkeypatch: pytest.MonkeyPatch, http: httpx.AsyncClient) -> None:
    monkeypatch.setattr("clients.destinations.TURN_SECONDS", 0.1)
    async with answering(hang) as vendor:
        client = VendorHttp("Klaviyo", http, seconds=2, limits=LIMITS)
        calls = [client.post(vendor.url, headers={}, body={}) for _ in range(LIMITS.in_flight + 2)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)

    held = [one for one in outcomes if isinstance(one, NotExecuted)]
    assert [(one.is_held, one.reason) for one in held] == [(True, "held, as 3 calls are in flight")] * 2
    assert vendor.connections == LIMITS.in_flight


async def test_a_call_waits_for_its_turn() -> None:
    destination = Destination("Klaviyo", Limits(in_flight=1, open_seconds=30))
    calls: list[str] = []

    async def call() -> None:
        async with destination.call():
            calls.append("begins")
            await asyncio.sleep(0)
            calls.append("ends")

    await asyncio.gather(*(call() for _ in range(20)))

    assert calls == ["begins", "ends"] * 20


async def test_repeated_timeouts_open_the_circuit_breaker(clock: Clock) -> None:
    destination = await an_open_one()

    with pytest.raises(NotExecuted, match="the circuit breaker is open after 5 time-outs in a row") as held:
        await call(destination)

    assert held.value.is_held
    assert held.value.retry_after is not None
    assert held.value.retry_after.total_seconds() >= LIMITS.open_seconds


@pytest.mark.parametrize("error", [None, httpx.ConnectError("refused"), httpx.ReadError("lost"), httpx.PoolTimeout("")])
async def test_other_outcomes_do_not_open_it(error: Exception | None) -> None:
    destination = Destination("Klaviyo", LIMITS)
    for _ in range(2 * TIMEOUTS_TO_OPEN):
        try:
            await call(destination, error)
        except httpx.RequestError:
            continue

    await call(destination)


async def test_a_timeout_now_and_then_does_not_open_it() -> None:
    destination = Destination("Klaviyo", LIMITS)
    for _ in range(3):
        await time_out(destination, TIMEOUTS_TO_OPEN - 1)
        await call(destination)


@pytest.mark.parametrize("error", [None, httpx.ConnectError("refused")])
async def test_any_answer_to_the_probe_closes_it(clock: Clock, error: Exception | None) -> None:
    destination = await an_open_one()
    clock.now += LIMITS.open_seconds

    try:
        await call(destination, error)
    except httpx.ConnectError:
        assert error is not None

    await asyncio.gather(*(call(destination) for _ in range(3)))


async def test_a_probe_without_answer_keeps_it_open(clock: Clock) -> None:
    destination = await an_open_one()
    clock.now += LIMITS.open_seconds

    await time_out(destination, 1)

    with pytest.raises(NotExecuted, match="after 6 time-outs"):
        await call(destination)


async def test_only_one_call_probes(clock: Clock) -> None:
    destination = await an_open_one()
    clock.now += LIMITS.open_seconds

    async with destination.call():
        with pytest.raises(NotExecuted):
            await call(destination)


async def test_a_cancelled_probe_is_followed_by_another(clock: Clock) -> None:
    destination = await an_open_one()
    clock.now += LIMITS.open_seconds
    with pytest.raises(asyncio.CancelledError):
        async with destination.call():
            raise asyncio.CancelledError

    await call(destination)


async def test_a_hanging_vendor_is_held_after_some_calls(http: httpx.AsyncClient) -> None:
    async with answering(hang) as vendor:
        client = VendorHttp("Klaviyo", http, seconds=0.1, limits=LIMITS)
        outcomes: list[VendorError] = []
        for _ in range(TIMEOUTS_TO_OPEN + 3):
            with pytest.raises(VendorError) as caught:
                await client.post(vendor.url, headers={}, body={})
            outcomes.append(caught.value)

    assert [type(one) for one in outcomes] == [Unknown] * TIMEOUTS_TO_OPEN + [NotExecuted] * 3
    assert vendor.connections == TIMEOUTS_TO_OPEN


async def test_destinations_of_a_vendor_do_not_hold_each_other(http: httpx.AsyncClient) -> None:
    client = VendorHttp("Shopify", http, seconds=0.1, limits=LIMITS)
    async with answering(hang) as hanging, answering(redirect) as answers:
        for _ in range(TIMEOUTS_TO_OPEN):
            with pytest.raises(Unknown):
                await client.post(hanging.url, headers={}, body={}, destination="one.myshopify.com")

        other = await client.post(answers.url, headers={}, body={}, destination="another.myshopify.com")

    assert other.status_code == 307
