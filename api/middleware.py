"""Middleware: access log, request limits, response headers."""

import asyncio
import re
import time
from contextlib import AbstractContextManager, nullcontext
from uuid import uuid4

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode
from pydantic_core import from_json
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from api.errors import ApiError
from api.observation import observe_request

MAX_BODY_BYTES = 16 * 1024

# Time to wait for the next part of a body.
BODY_TIMEOUT_SECONDS = 10

# Orders can be large, and so can lists of customers.
_MAX_BODY_BYTES_OF = {"/webhooks/shopify": 2 * 1024 * 1024, "/v1/customers/bulk": 8 * 1024 * 1024}

# Nearly everything here is personal data, or an error that quotes some.
_OF_SHOPS = ("/v1/", "/webhooks/")

REQUEST_ID = "X-Request-Id"
# It is logged and stored. No character has a meaning in logs, shells, URLs or e-mail addresses.
_HARMLESS = re.compile(r"[A-Za-z0-9._:-]{1,128}")

log = structlog.stdlib.get_logger("api.access")
_tracer = trace.get_tracer("pointsaga.api")


class AccessLog:
    """Gives every request an id, counts it, and logs its method, route, status, error code and duration.

    Shop and redemption are on the line too, once they are known. Not the path: it can contain e-mail addresses.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = time.monotonic()
        # An exception is answered outside of all middleware.
        status, body = 500, b""
        request_id = _request_id(Headers(scope=scope).get(REQUEST_ID))
        scope.setdefault("state", {})["request_id"] = request_id
        # For every line that the request logs.
        clear_contextvars()
        bind_contextvars(request_id=request_id)

        async def record_status(message: Message) -> None:
            nonlocal status, body
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            elif status >= 400:
                body += message.get("body", b"")
            await send(message)

        with _request_span(scope, request_id) as span:
            try:
                return await self._app(scope, receive, record_status)
            finally:
                route = getattr(scope.get("route"), "path", None)
                seconds, error = time.monotonic() - began, _error_code(status, body) if status >= 400 else None
                code = {"error": error} if status >= 400 else {}
                log.info(
                    "request", method=scope["method"], route=route, status=status, took_ms=round(seconds * 1000), **code
                )
                observe_request(route, status, error, seconds, scope["state"])
                span.update_name(f"{scope['method']} {route or 'unknown path'}")
                span.set_attributes({"http.route": route or "", "http.response.status_code": status})
                span.set_attributes({"error": error} if error else {})
                span.set_status(StatusCode.ERROR if status >= 500 else StatusCode.UNSET)


def _request_span(scope: Scope, request_id: str) -> AbstractContextManager[Span]:
    """The root of a trace: callers do not choose what is traced. Without path and query, which can be personal."""
    if not scope["path"].startswith(_OF_SHOPS):
        return nullcontext(INVALID_SPAN)
    return _tracer.start_as_current_span(
        scope["method"],
        Context(),
        kind=SpanKind.SERVER,
        attributes={"http.request.method": scope["method"], "pointsaga.request_id": request_id},
        record_exception=False,
    )


def _request_id(given: str | None) -> str:
    return given if given and _HARMLESS.fullmatch(given) else uuid4().hex


def _error_code(status: int, body: bytes) -> str | None:
    """The error code of a response. Answers of the framework have none."""
    if status == 500 and not body:
        return "internal_error"
    try:
        return from_json(body)["errors"][0]["code"]
    except (ValueError, LookupError, TypeError):
        return None


class RequestLimits:
    """Refuses bodies that are over 16 KiB (webhooks: 2 MiB, bulk: 8 MiB) or stop coming.

    Also paths with NUL, which PostgreSQL does not accept.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if "\x00" in scope["path"]:
            return await ApiError("not_found").response()(scope, receive, send)
        received, is_complete, limit = 0, False, _MAX_BODY_BYTES_OF.get(scope["path"], self._max_body_bytes)

        async def count_bytes() -> Message:
            nonlocal received, is_complete
            try:
                async with asyncio.timeout(None if is_complete else BODY_TIMEOUT_SECONDS):
                    message = await receive()
            except TimeoutError:
                raise ApiError("request_timeout") from None
            received += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            if received > limit:
                raise ApiError("payload_too_large", f"The body is larger than {limit} bytes")
            return message

        return await self._app(scope, count_bytes, send)


class HeadAsGet:
    """Serves HEAD wherever GET is served. The server omits the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await self._app(scope, receive, send)
        scope.setdefault("state", {})
        get = {**scope, "method": "GET"}
        try:
            return await self._app(get, receive, send)
        finally:
            # The access log reads the route.
            scope.update(get, method="HEAD")


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
