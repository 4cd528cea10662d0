"""POST /webhooks/shopify"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from pydantic_core import from_json

from api.errors import ApiError
from api.openapi import errors
from api.schemas.shopify_webhooks import Received, Time
from api.state import StateOf
from services.webhook_intake import Webhook

router = APIRouter(tags=["Webhooks"])

_EXAMPLE = {"id": 450789469, "created_at": "2026-06-01T12:00:00Z", "discount_codes": [{"code": "MAGE-7K2Q9XWDFM"}]}


async def _signed_body(
    request: Request,
    state: StateOf,
    signature: Annotated[
        str, Header(alias="X-Shopify-Hmac-Sha256", description="HMAC-SHA256 of the body, in Base64.")
    ] = "",
) -> bytes:
    body = await request.body()
    state.webhook_intake.verify(body, signature)
    return body


async def _json_object(body: Annotated[bytes, Depends(_signed_body)]) -> bytes:
    try:
        content: Any = from_json(body)
    except ValueError:
        raise ApiError("invalid_json") from None
    if not isinstance(content, dict):
        raise ApiError("invalid_json", "The body is not a JSON object")
    return body


@router.post(
    "/webhooks/shopify",
    summary="Receive a Shopify webhook",
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
    """Store the webhook encrypted until a workflow has processed it. A repeated webhook id is not stored again.

    Processed topics: `orders/create`, `orders/cancelled`, `customers/update`, `customers/delete`, `app/uninstalled`,
    `customers/data_request`, `customers/redact` and `shop/redact`. Others are ignored.
    """
    webhook = Webhook(id=webhook_id, topic=topic, shop_domain=shop.lower(), triggered_at=triggered_at, body=body)
    return Received(status=await state.webhook_intake.receive(webhook))
