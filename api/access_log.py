"""One line per request. Paths can hold e-mail addresses, so the line names the route, not the path."""

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.stdlib.get_logger("api.access")


class AccessLog:
    """Logs method, route, status and duration of every request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note how it was answered."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = time.monotonic()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            return await self._app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", None)
            took_ms = round((time.monotonic() - began) * 1000)
            log.info("request", method=scope["method"], route=route, status=status, took_ms=took_ms)
