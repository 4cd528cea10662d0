"""Hooks of Schemathesis: they sign Shopify webhooks, and prevent webhooks to public addresses."""

import os
from typing import Any

import schemathesis
from pydantic import SecretStr

from clients.shopify_webhooks import signature

URL = "https://8.8.8.8/hooks"
# Is never sent.
EVENT = "points.earned"


@schemathesis.hook  # pyright: ignore[reportUnknownMemberType]
def before_call(_: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Replace the URL and events of subscriptions, and sign webhooks."""
    body: Any = case.body
    if isinstance(body, dict):
        _replace_subscription(body)
    if case.path == "/webhooks/shopify":
        kwargs["auth"] = _sign


def _replace_subscription(body: Any) -> None:
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


@schemathesis.serializer("application/jsonl", "application/x-ndjson")
def _lines(_: Any, value: Any) -> bytes:
    """The body of a bulk request: text."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")
