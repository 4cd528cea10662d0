"""Slashes in path parameters: `%2F` belongs to a parameter, `/` ends it."""

import re
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

# Stands for `%2F` while a route is looked for. A decoded path contains no surrogates, so it is not ambiguous.
_ESCAPED_SLASH = "\udc2f"


class EscapedSlashes:
    """Hides `%2F` from the routes, which are looked for in the decoded path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            parts = re.split(rb"%2[fF]", scope.get("raw_path", b""))
            if len(parts) > 1:
                scope["path"] = _ESCAPED_SLASH.join(_decoded(part) for part in parts)
        await self._app(scope, receive, send)


def _decoded(part: bytes) -> str:
    # As servers do: invalid UTF-8 becomes U+FFFD.
    return unquote_to_bytes(part).decode(errors="replace")


async def restore_slashes(request: Request) -> None:
    """A dependency of every route: makes `/` of the hidden `%2F` in the path parameters."""
    for name, value in request.path_params.items():
        request.path_params[name] = value.replace(_ESCAPED_SLASH, "/")
