"""Middleware: access log, request limits, response headers."""

import time

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import ApiError

MAX_BODY_BYTES = 16 * 1024

# Orders can be large.
_MAX_BODY_BYTES_OF = {"/webhooks/shopify": 2 * 1024 * 1024}

# Nearly everything here is personal data, or an error that quotes some.
_OF_SHOPS = ("/v1/", "/webhooks/")

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


class ResponseHeaders:
    """Adds the key's rate-limit headers to every response, including errors. Forbids caches to store data of shops."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def add_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers, allowance = MutableHeaders(scope=message), scope.get("state", {}).get("allowance")
                headers.update({} if allowance is None else allowance.headers)
                if scope["path"].startswith(_OF_SHOPS):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        return await self._app(scope, receive, add_headers)
