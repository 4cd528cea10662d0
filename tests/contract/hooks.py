"""What Schemathesis does not know: how Shopify signs, and that nothing may be sent to strangers."""

import os
from typing import Any

import schemathesis
from pydantic import SecretStr

from clients.shopify_webhooks import signature

NOBODY = "https://127.0.0.1:9/hooks"


@schemathesis.hook
def before_call(_: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Subscriptions are to nobody; what Shopify tells is signed."""
    if isinstance(case.body, dict) and str(case.body.get("url")).startswith("https://"):
        case.body["url"] = NOBODY
    if case.path == "/webhooks/shopify":
        kwargs["auth"] = _sign


def _sign(request: Any) -> Any:
    secret = SecretStr(os.environ["SHOPIFY_WEBHOOK_SECRETS"])
    request.headers["X-Shopify-Hmac-Sha256"] = signature(_body(request.body), secret)
    return request


def _body(content: str | bytes | None) -> bytes:
    return content.encode() if isinstance(content, str) else content or b""
