"""Middleware: access log, request limits, rate-limit headers."""

import time

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import ApiError

MAX_BODY_BYTES = 16 * 1024

# Orders can be large.
_MAX_BODY_BYTES_OF = {"/webhooks/shopify": 2 * 1024 * 1024}

log = structlog.stdlib.get_logger("api.access")


class AccessLog:
    """Logs method, route, status and duration of every request. Not the path: it can contain e-mail addresses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = time.monotonic()
        status = 500

        async def record_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            return await self._app(scope, receive, record_status)
        finally:
            route = getattr(scope.get("route"), "path", None)
            took_ms = round((time.monotonic() - began) * 1000)
            log.info("request", method=scope["method"], route=route, status=status, took_ms=took_ms)


class RequestLimits:
    """Refuses bodies over 16 KiB (webhooks: 2 MiB), and paths with NUL, which PostgreSQL does not accept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if "\x00" in scope["path"]:
            return await ApiError("not_found").response()(scope, receive, send)
        received, limit = 0, _MAX_BODY_BYTES_OF.get(scope["path"], MAX_BODY_BYTES)

        async def count_bytes() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise ApiError("payload_too_large", f"The body is larger than {limit} bytes")
            return message

        return await self._app(scope, count_bytes, send)


class AllowanceHeaders:
    """Adds the key's rate-limit headers to every response, including errors."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def add_headers(message: Message) -> None:
            allowance = scope.get("state", {}).get("allowance")
            if allowance is not None and message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(allowance.headers)
            await send(message)

        return await self._app(scope, receive, add_headers)
