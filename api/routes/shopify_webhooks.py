"""POST /webhooks/shopify"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from pydantic import TypeAdapter, ValidationError

from api.bodies import check_encoding
from api.errors import ApiError
from api.openapi import BODY, errors
from api.schemas.shopify_webhooks import Received, Time
from api.state import StateOf
from services.webhook_intake import SignedBody, Webhook

router = APIRouter(tags=["Webhooks"])

_OBJECT = TypeAdapter(dict[str, Any])

_EXAMPLE = {"id": 450789469, "created_at": "2026-06-01T12:00:00Z", "discount_codes": [{"code": "MAGE-7K2Q9XWDFM"}]}


async def _signed_body(
    request: Request,
    state: StateOf,
    shop: Annotated[str, Header(alias="X-Shopify-Shop-Domain")],
    signature: Annotated[
        str, Header(alias="X-Shopify-Hmac-Sha256", description="HMAC-SHA256 of the body, in Base64.")
    ] = "",
) -> SignedBody:
    body = await state.webhook_intake.verify(shop.lower(), await request.body(), signature)
    check_encoding(request)
    return body


async def _content(body: Annotated[SignedBody, Depends(_signed_body)]) -> dict[str, Any]:
    try:
        return _OBJECT.validate_json(body.raw)
    except ValidationError as error:
        is_json = error.errors(include_url=False)[0]["type"] != "json_invalid"
        raise ApiError("invalid_json", "The body is not a JSON object" if is_json else "") from None


@router.post(
    "/webhooks/shopify",
    summary="Receive a Shopify webhook",
    responses=errors(*BODY, "unauthorized", "internal_error", "engine_unavailable"),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}, "example": _EXAMPLE}},
        }
    },
)
async def receive_shopify_webhook(
    body: Annotated[SignedBody, Depends(_signed_body)],
    content: Annotated[dict[str, Any], Depends(_content)],
    state: StateOf,
    topic: Annotated[str, Header(alias="X-Shopify-Topic")],
    webhook_id: Annotated[str, Header(alias="X-Shopify-Webhook-Id", max_length=255, pattern=r"^[\x21-\x7e]+$")],
    triggered_at: Annotated[Time | None, Header(alias="X-Shopify-Triggered-At")] = None,
) -> Received:
    """Store the webhook encrypted until a workflow has processed it. A repeated webhook id is not stored again.

    Processed topics: `orders/create`, `orders/cancelled`, `refunds/create`, `customers/create`, `customers/update`,
    `customers/disable`, `customers/enable`, `customers/merge`, `customers/delete`, `app/uninstalled`,
    `customers/data_request`, `customers/redact` and `shop/redact`. Others are ignored.
    """
    webhook = Webhook(id=webhook_id, topic=topic, triggered_at=triggered_at, body=body, content=content)
    return Received(status=await state.webhook_intake.receive(webhook))
