"""What all endpoints have in common: methods, headers, bodies, unknown fields"""

import asyncio
import json
import re
import socket
from collections.abc import AsyncGenerator
from io import StringIO

import httpx
import pytest
import uvicorn
from playwright.async_api import async_playwright

from api import middleware
from api.app import create_app
from settings import Settings
from telemetry import configure_logging
from tests.api.support import attributes_of, code_of, error_of
from tests.browser import CHROMIUM, in_a_browser
from tests.service import Service, in_process
from tests.shop import Shop
from tests.waiting import wait_until


@pytest.fixture
async def port(settings: Settings) -> AsyncGenerator[int]:
    """An API on a port of its own, for what needs a network."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(settings), log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    # In a task, as the server's own signal handling is for processes.
    serving = asyncio.create_task(server.serve([listener]))
    yield listener.getsockname()[1]
    server.should_exit = True
    await serving


@pytest.fixture
def running_log(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """What is logged from now on, as JSON."""
    written = StringIO()
    monkeypatch.setattr("sys.stderr", written)
    configure_logging("INFO", "json")
    return written


async def raw(port: int, head: str) -> bytes:
    """Send the head of a request, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.replace("\n", "\r\n").encode())
    answer = await reader.read()
    writer.close()
    return answer


async def test_head_answers_wherever_get_does(shop: Shop) -> None:
    headers = {"Authorization": shop.read_key}

    for path in (
        "/",
        "/docs",
        "/openapi.json",
        "/healthz",
        "/readyz",
        "/v1/rewards",
        f"/v1/customers/{shop.customers[0]}",
    ):
        assert (await shop.service.api.head(path, headers=headers)).status_code == 200, path
    assert (await shop.service.api.head("/v1/customers/1", headers=headers)).status_code == 404
    assert (await shop.service.api.head("/v1/rewards")).status_code == 401
    refused = await shop.service.api.head("/v1/rewards/reward_abc/purchase", headers=headers)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


async def test_a_head_has_no_body(port: int) -> None:
    answer = await raw(port, "HEAD /healthz HTTP/1.1\nHost: x\nConnection: close\n\n")

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"\r\n\r\n")


async def test_the_root_names_the_documentation(service: Service) -> None:
    assert (await service.api.get("/")).json()["documentation"] == "/docs"


async def test_a_compressed_body_is_refused(shop: Shop) -> None:
    headers = {"Authorization": shop.full_key, "Content-Type": "application/json", "Content-Encoding": "gzip"}
    content = b'{"customer_identifier": "1"}'

    purchase = await shop.service.api.post("/v1/rewards/r/purchase", headers=headers, content=content)
    webhook = await shop.send_webhook("orders/create", {"id": 1}, headers={"Content-Encoding": "br"})

    assert code_of(purchase) == code_of(webhook) == (415, "unsupported_media_type")


async def test_two_idempotency_keys_are_refused(shop: Shop) -> None:
    headers = [("Authorization", shop.full_key), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]

    answer = await shop.service.api.post("/v1/rewards/reward_abc/purchase", headers=headers, json={})

    assert code_of(answer) == (400, "invalid_request")
    assert error_of(answer)["source"] == {"header": "Idempotency-Key"}


async def test_an_unknown_field_is_refused_with_its_pointer(shop: Shop) -> None:
    before = await shop.balance()
    flat = await shop.adjust(10, expires_at="2027-01-01T00:00:00Z")
    document = {"data": {"type": "points_adjustment", "attributes": {"adjustment": 10, "a/b~c": 1}}}
    nested = await shop.send("POST", f"/v1/customers/{shop.customers[0]}/points", document)
    beside = await shop.send(
        "PUT", f"/v1/customers/{shop.customers[0]}", {"data": {"attributes": {}}, "excluded": True}
    )

    answers = (flat, nested, beside)
    assert [code_of(one) for one in answers] == [(400, "invalid_request")] * 3
    pointers = [error_of(one)["source"]["pointer"] for one in answers]
    assert pointers == ["/expires_at", "/data/attributes/a~1b~0c", "/excluded"]
    assert await shop.balance() == before


async def test_every_body_refuses_unknown_fields(shop: Shop) -> None:
    requests = {
        ("POST", "/v1/rewards/reward_abc/purchase"): {"customer_identifier": shop.customers[0]},
        ("POST", "/v1/rewards/reward_abc/quote"): {"customer_identifier": shop.customers[0]},
        ("POST", "/v1/reward-history/cr_unknown/refund"): {},
        ("POST", "/v1/webhook-subscriptions"): {"url": "https://8.8.8.8/hooks", "events": ["points.redeemed"]},
        ("PUT", "/v1/webhook-subscriptions/whsub_unknown"): {},
    }
    for (method, path), body in requests.items():
        answer = await shop.send(method, path, {**body, "colour": "red"})
        assert (answer.status_code, error_of(answer).get("source")) == (400, {"pointer": "/colour"}), path


async def test_clients_can_send_back_what_they_received(shop: Shop) -> None:
    path = f"/v1/customers/{shop.customers[0]}"
    received = (await shop.get(path)).json()
    received["data"]["attributes"]["date_of_birth"] = "1990-05-15"

    document = await shop.send("PUT", path, {**received, "jsonapi": {"version": "1.1"}})
    flat = await shop.send("PUT", path, received["data"]["attributes"])

    assert (
        attributes_of(document)["date_of_birth"] == attributes_of(flat)["date_of_birth"] == "1990-05-15T00:00:00.000Z"
    )


async def test_unknown_parameters_are_ignored(shop: Shop) -> None:
    assert (await shop.get("/v1/rewards?utm_source=mail&filter[name]=five")).status_code == 200


async def test_what_is_not_found_is_not_read_again(shop: Shop) -> None:
    for path in ("/v1/customers/1", "/v1/rewards/unknown", "/v1/customers/1/rewards"):
        assert error_of(await shop.get(path))["meta"]["retry"] == "never"
    assert error_of(await shop.purchase(reward="unknown"))["meta"]["retry"] == "new_key"


async def test_a_body_that_stops_coming_times_out(shop: Shop, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "BODY_TIMEOUT_SECONDS", 0.5)
    head = f"POST /v1/rewards/r/quote HTTP/1.1\nHost: x\nAuthorization: {shop.read_key}\nContent-Length: 40\n\n"

    async with asyncio.timeout(10):
        answer = await raw(port, head + '{"customer_')

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer
    assert b'"retry":"same_key"' in answer


@in_a_browser
async def test_the_documentation_keeps_the_key_until_the_tab_closes(port: int) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM)
        context = await browser.new_context()
        tab = await context.new_page()
        await tab.goto(f"http://127.0.0.1:{port}/docs")
        await tab.click("button.authorize")
        await tab.fill("input[aria-label='auth-api_key'], .auth-container input", "a-key")
        await tab.click(".auth-btn-wrapper button.authorize")
        await tab.reload()
        await tab.wait_for_selector("button.authorize.locked")
        other = await context.new_page()
        await other.goto(f"http://127.0.0.1:{port}/docs")
        await other.wait_for_selector("button.authorize")
        assert await other.is_visible("button.authorize.unlocked")
        await browser.close()


async def test_every_answer_has_a_request_id(shop: Shop) -> None:
    async def sent(given: str | None, path: str = "/v1/customers/1") -> str:
        headers = {"Authorization": shop.read_key} | ({} if given is None else {"X-Request-Id": given})
        return (await shop.service.api.get(path, headers=headers)).headers["x-request-id"]

    assert await sent("req-17:a.b_C") == "req-17:a.b_C"
    assert await sent("req-18", "/nowhere") == "req-18"
    for harmful in ("a b", "x" * 129, "jane@shopper.io", "", "a\\nb", "$(id)"):
        made = await sent(harmful)
        assert re.fullmatch("[0-9a-f]{32}", made), harmful
    assert await sent(None) != await sent(None)


async def test_an_internal_error_has_a_request_id(settings: Settings) -> None:
    async def bug() -> None:
        raise RuntimeError

    app = create_app(settings)
    app.add_api_route("/bug", bug)
    async with in_process(httpx.ASGITransport(app, raise_app_exceptions=False)) as api:
        answer = await api.get("/bug", headers={"X-Request-Id": "req-17"})

    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "req-17")


async def test_an_access_line_says_what_the_request_was_about(shop: Shop, running_log: StringIO) -> None:
    sent = {"Authorization": shop.full_key, "X-Request-Id": "req-17"}
    body = {"customer_identifier": shop.customers[0]}
    bought = await shop.service.api.post("/v1/rewards/reward_abc/purchase", headers=sent, json=body)
    await shop.service.api.post("/v1/rewards/unknown/purchase", headers=sent, json=body)

    purchase, refused = [line for line in map(json.loads, running_log.getvalue().splitlines()) if "route" in line]
    assert (purchase["request_id"], purchase["shop"]) == ("req-17", shop.domain)
    assert (purchase["redemption_id"], purchase["status"]) == (bought.json()["data"]["id"], 201)
    assert "error" not in purchase
    assert (refused["status"], refused["error"]) == (404, "reward_not_found")


async def test_a_client_that_goes_away_is_one_line(shop: Shop, port: int, running_log: StringIO) -> None:
    head = f"POST /v1/rewards/r/quote HTTP/1.1\nHost: x\nAuthorization: {shop.read_key}\nContent-Length: 40\n\n"
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.replace("\n", "\r\n").encode() + b"{")
    await writer.drain()
    await asyncio.sleep(0.5)
    writer.close()

    async def logged() -> bool:
        return "quote" in running_log.getvalue()

    await wait_until(logged)
    [line] = [one for one in running_log.getvalue().splitlines() if "uvicorn" not in one]
    assert (json.loads(line)["status"], "Traceback" in running_log.getvalue()) == (499, False)
