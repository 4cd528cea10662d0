"""The sandbox without a network, for tests: an httpx transport on which connections can break and time out."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.faults import IN_PROCESS, ConnectionDropped, ConnectionRefused


class SandboxTransport(httpx.AsyncBaseTransport):
    """`httpx.AsyncClient(transport=SandboxTransport(create_app()))` reaches the sandbox under any host name.

    A request that times out or is cancelled goes on inside the sandbox, as it would at a vendor.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._inner = httpx.ASGITransport(app=_marked(app))
        self._running: set[asyncio.Task[httpx.Response]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer the request, or break as a connection would."""
        task = asyncio.create_task(self._inner.handle_async_request(request))
        self._running.add(task)
        task.add_done_callback(self._finished)
        timeout: dict[str, float | None] = request.extensions.get("timeout", {})
        try:
            return await asyncio.wait_for(asyncio.shield(task), timeout.get("read"))
        except TimeoutError as error:
            raise httpx.ReadTimeout("the sandbox took too long", request=request) from error
        except ConnectionDropped as error:
            raise httpx.RemoteProtocolError("the sandbox dropped the connection", request=request) from error
        except ConnectionRefused as error:
            raise httpx.ConnectError("the sandbox is down", request=request) from error

    def _finished(self, task: asyncio.Task[httpx.Response]) -> None:
        self._running.discard(task)
        # Taken note of here, because after a time-out nobody else will.
        if not task.cancelled():
            task.exception()

    async def aclose(self) -> None:
        """Let what is under way end."""
        await asyncio.gather(*self._running, return_exceptions=True)


def _marked(app: ASGIApp) -> ASGIApp:
    async def in_process(scope: Scope, receive: Receive, send: Send) -> None:
        extensions: MutableMapping[str, Any] = {IN_PROCESS: {}}
        await app({**scope, "extensions": extensions}, receive, send)

    return in_process
