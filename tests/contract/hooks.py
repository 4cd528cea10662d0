"""What Schemathesis does not know: how Shopify signs, and that nothing may be sent to strangers."""

import os
from typing import Any

import schemathesis
from pydantic import SecretStr

from clients.shopify_webhooks import signature

URL = "https://8.8.8.8/hooks"
EVENT = "points.earned"
"""One that nobody sends."""


@schemathesis.hook  # pyright: ignore[reportUnknownMemberType]
def before_call(_: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Subscriptions bring nobody any request; what Shopify tells is signed."""
    body: Any = case.body
    if isinstance(body, dict):
        _silence(body)
    if case.path == "/webhooks/shopify":
        kwargs["auth"] = _sign


def _silence(body: Any) -> None:
    if str(body.get("url")).startswith("https://"):
        body["url"] = URL
    if isinstance(body.get("events"), list):
        body["events"] = [EVENT if one in ("points.redeemed", "points.refunded") else one for one in body["events"]]


def _sign(request: Any) -> Any:
    secret = SecretStr(os.environ["SHOPIFY_WEBHOOK_SECRETS"])
    request.headers["X-Shopify-Hmac-Sha256"] = signature(_body(request.body), secret)
    return request


def _body(content: str | bytes | None) -> bytes:
    return content.encode() if isinstance(content, str) else content or b""
