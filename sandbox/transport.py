"""The sandbox without a network, for tests: an httpx transport with connection errors and timeouts."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.faults import (
    IN_PROCESS,
    ConnectionDropped,
    ConnectionHangs,
    ConnectionRefused,
    ResponseTrickles,
    Trickling,
)


class SandboxTransport(httpx.AsyncBaseTransport):
    """Sends requests for any host to the sandbox app.

    A request that times out or is cancelled continues inside the sandbox, like a request to a real vendor.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._inner = httpx.ASGITransport(app=_in_process(app))
        self._running: set[asyncio.Task[httpx.Response]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        task = asyncio.create_task(self._inner.handle_async_request(request))
        self._running.add(task)
        task.add_done_callback(self._finished)
        timeout: dict[str, float | None] = request.extensions.get("timeout", {})
        try:
            return await asyncio.wait_for(_response(task), timeout.get("read"))
        except TimeoutError as error:
            raise httpx.ReadTimeout("the sandbox did not respond in time", request=request) from error
        except ConnectionDropped as error:
            raise httpx.RemoteProtocolError("the sandbox dropped the connection", request=request) from error
        except ConnectionRefused as error:
            raise httpx.ConnectError("the sandbox is down", request=request) from error

    def _finished(self, task: asyncio.Task[httpx.Response]) -> None:
        self._running.discard(task)
        # Retrieve the exception: after a timeout no other code does, and asyncio would log it.
        if not task.cancelled():
            task.exception()

    async def aclose(self) -> None:
        """Wait for the requests that are still executing."""
        await asyncio.gather(*self._running, return_exceptions=True)


class _Trickle(httpx.AsyncByteStream):
    def __init__(self, response: Trickling) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._response.body_iterator:
            yield bytes(part, "ascii") if isinstance(part, str) else bytes(part)


async def _response(task: asyncio.Task[httpx.Response]) -> httpx.Response:
    """Wait for the response, without cancelling the task."""
    try:
        return await asyncio.shield(task)
    except ConnectionHangs as error:
        await asyncio.sleep(error.seconds)
        raise ConnectionDropped from error
    except ResponseTrickles as error:
        return httpx.Response(
            error.response.status_code, headers=error.response.raw_headers, stream=_Trickle(error.response)
        )


def _in_process(app: ASGIApp) -> ASGIApp:
    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        extensions: MutableMapping[str, Any] = {IN_PROCESS: {}}
        await app({**scope, "extensions": extensions}, receive, send)

    return call
