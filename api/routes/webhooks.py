"""POST /webhooks/shopify"""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Request
from pydantic import AwareDatetime, BaseModel, BeforeValidator
from pydantic_core import from_json

from api.errors import ApiError
from api.openapi import errors
from api.state import StateOf
from services.webhook_intake import Webhook

router = APIRouter(tags=["Webhooks"])


_EXAMPLE = {"id": 450789469, "created_at": "2026-06-01T12:00:00Z", "discount_codes": [{"code": "MAGE-7K2Q9XWDFM"}]}

# A number would be taken for seconds since 1970.
Time = Annotated[AwareDatetime, BeforeValidator(datetime.fromisoformat)]


class Received(BaseModel):
    """`ignored` when the shop is unknown, or the topic means nothing here."""

    status: Literal["accepted", "ignored"]


async def _signed_body(
    request: Request,
    state: StateOf,
    signature: Annotated[
        str, Header(alias="X-Shopify-Hmac-Sha256", description="Base64 of the body's HMAC-SHA256.")
    ] = "",
) -> bytes:
    body = await request.body()
    state.intake.check(body, signature)
    return body


async def _json_object(body: Annotated[bytes, Depends(_signed_body)]) -> bytes:
    try:
        content: Any = from_json(body)
    except ValueError:
        raise ApiError("invalid_json", "The body is not valid JSON") from None
    if not isinstance(content, dict):
        raise ApiError("invalid_json", "The body is not a JSON object")
    return body


@router.post(
    "/webhooks/shopify",
    summary="Take in a webhook of Shopify's",
    responses=errors(
        "invalid_json", "invalid_request", "unauthorized", "payload_too_large", "internal_error", "engine_unavailable"
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}, "example": _EXAMPLE}},
        }
    },
)
async def receive_shopify_webhook(
    body: Annotated[bytes, Depends(_json_object)],
    state: StateOf,
    topic: Annotated[str, Header(alias="X-Shopify-Topic")],
    shop: Annotated[str, Header(alias="X-Shopify-Shop-Domain")],
    webhook_id: Annotated[str, Header(alias="X-Shopify-Webhook-Id", max_length=255, pattern=r"^[\x21-\x7e]+$")],
    triggered_at: Annotated[Time | None, Header(alias="X-Shopify-Triggered-At")] = None,
) -> Received:
    """Keep the webhook, encrypted, until a workflow has processed it; a webhook id that is known is not kept again.

    The topics are `orders/create`, `orders/cancelled`, `customers/update`, `customers/delete`, `app/uninstalled`,
    `customers/data_request`, `customers/redact` and `shop/redact`; others are ignored.
    """
    webhook = Webhook(id=webhook_id, topic=topic, shop_domain=shop.lower(), triggered_at=triggered_at, body=body)
    return Received(status=await state.intake.take(webhook))
