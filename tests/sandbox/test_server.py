"""The sandbox as a server: real sockets and broken connections."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.sandbox.conftest import find

Server = tuple[asyncio.subprocess.Process, httpx.AsyncClient]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "sandbox", "--port", str(port))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        await until_healthy(http)
        yield process, http
    if process.returncode is None:
        process.kill()
    await process.wait()


async def until_healthy(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await http.get("/healthz")
            except httpx.ConnectError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_the_server_drops_connections_and_stops_on_ctrl_c(server: Server) -> None:
    process, http = server
    await http.post("/_sandbox/shopify/faults", json={"kind": "execute_then_drop"})
    await http.post("/_sandbox/shopify/faults", json={"kind": "down", "times": 1})

    with pytest.raises(httpx.RemoteProtocolError):
        await find(http)
    down, up = await find(http), await find(http)

    assert (down.status_code, down.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert up.json()["data"] == {"codeDiscountNodeByCode": None}
    calls = (await http.get("/_sandbox/shopify")).json()["calls"]
    faults_and_outcomes = [(call["fault"], call["outcome"]) for call in calls]
    assert faults_and_outcomes == [("execute_then_drop", "ok"), ("down", "not executed"), (None, "ok")]

    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(10):
        assert await process.wait() in {0, 130, -signal.SIGINT}


async def test_the_server_hangs_and_trickles(server: Server) -> None:
    process, http = server
    for fault in ({"kind": "hang", "seconds": 0.2}, {"kind": "hang"}, {"kind": "trickle"}):
        await http.post("/_sandbox/shopify/faults", json=fault)
    http.timeout = httpx.Timeout(1.5)

    with pytest.raises(httpx.RemoteProtocolError):
        await find(http)
    with pytest.raises(httpx.ReadTimeout):
        await find(http)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await find(http)

    calls = (await http.get("/_sandbox/shopify")).json()["calls"]
    assert [call["outcome"] for call in calls] == ["not executed", "not executed", "ok"]
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(10):
        await process.wait()
