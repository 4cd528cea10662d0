"""The sandbox as a server of its own, with real sockets that really break."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.sandbox.conftest import SHOP, TOKEN

FIND = {"query": '{ codeDiscountNodeByCode(code: "FIVE") { id } }'}


def a_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


async def until_healthy(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await http.get("/healthz")
            except httpx.ConnectError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.fixture
async def server() -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    port = a_free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "sandbox", "--port", str(port))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        await until_healthy(http)
        yield process, http
    if process.returncode is None:
        process.kill()
    await process.wait()


async def test_the_server_breaks_connections_and_ends_on_ctrl_c(
    server: tuple[asyncio.subprocess.Process, httpx.AsyncClient],
) -> None:
    process, http = server
    await http.post("/_sandbox/shopify/faults", json={"kind": "execute_then_drop"})
    await http.post("/_sandbox/shopify/faults", json={"kind": "down", "times": 1})

    with pytest.raises(httpx.RemoteProtocolError):
        await http.post(SHOP, headers=TOKEN, json=FIND)
    down = await http.post(SHOP, headers=TOKEN, json=FIND)
    up = await http.post(SHOP, headers=TOKEN, json=FIND)

    assert (down.status_code, down.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert up.json()["data"] == {"codeDiscountNodeByCode": None}
    calls = (await http.get("/_sandbox/shopify")).json()["calls"]
    assert [(call["fault"], call["outcome"]) for call in calls] == [
        ("execute_then_drop", "ok"),
        ("down", "not executed"),
        (None, "ok"),
    ]

    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(10):
        assert await process.wait() in {0, 130, -signal.SIGINT}
