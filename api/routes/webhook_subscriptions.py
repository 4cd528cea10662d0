"""/v1/webhook-subscriptions"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.auth import Reader, Writer
from api.bodies import json_body
from api.openapi import BODY, READ, WRITE, body_schema, errors
from api.schemas.webhook_subscriptions import (
    NewSubscription,
    SecretDocument,
    SubscriptionChanges,
    SubscriptionDocument,
    SubscriptionId,
    SubscriptionList,
    SubscriptionQuery,
    secret_resource,
    subscription_resource,
)
from api.state import StateOf
from db import subscriptions
from domain.subscriptions import WebhookEvent
from services.subscriptions import SubscriptionNotFound

router = APIRouter(tags=["Webhook subscriptions"])

_EXAMPLE = {"url": "https://example.com/webhooks", "events": [WebhookEvent.POINTS_REDEEMED], "description": "Our CRM"}


@router.post(
    "/v1/webhook-subscriptions",
    status_code=201,
    summary="Create a webhook subscription",
    responses=errors(*BODY, *WRITE, "too_many_webhook_subscriptions"),
    openapi_extra=body_schema(NewSubscription, _EXAMPLE),
)
async def create_webhook_subscription(
    caller: Writer, body: Annotated[NewSubscription, Depends(json_body(NewSubscription))], state: StateOf
) -> SecretDocument:
    """Subscribe a public HTTPS URL to events. The response has the secret that signs the deliveries.

    Only `points.redeemed`, `points.refunded` and `points.purchase_failed` are sent. Mage's other events are accepted
    and never sent. A shop can have 20 subscriptions, including paused ones.
    """
    created = await state.subscriptions.create(caller.shop, body.model_dump(), actor=caller.name)
    return SecretDocument(data=secret_resource(*created))


@router.get(
    "/v1/webhook-subscriptions", summary="List webhook subscriptions", responses=errors("invalid_request", *READ)
)
async def list_webhook_subscriptions(
    query: Annotated[SubscriptionQuery, Query()], caller: Reader, state: StateOf
) -> SubscriptionList:
    """List the shop's subscriptions, including paused ones."""
    async with state.sessions() as session:
        rows, total = await subscriptions.page_of_subscriptions(session, caller.shop.id, query.page())
    return SubscriptionList(data=[subscription_resource(row) for row in rows], meta=query.meta(total))


@router.get(
    "/v1/webhook-subscriptions/{subscription_id}",
    summary="Retrieve a webhook subscription",
    responses=errors("webhook_subscription_not_found", *READ),
)
async def retrieve_webhook_subscription(
    subscription_id: SubscriptionId, caller: Reader, state: StateOf
) -> SubscriptionDocument:
    """Retrieve a subscription, without its secret."""
    async with state.sessions() as session:
        row = await subscriptions.find_subscription(session, caller.shop.id, subscription_id)
    if row is None:
        raise SubscriptionNotFound(subscription_id)
    return SubscriptionDocument(data=subscription_resource(row))


@router.put(
    "/v1/webhook-subscriptions/{subscription_id}",
    summary="Update a webhook subscription",
    responses=errors(*BODY, *WRITE, "webhook_subscription_not_found"),
    openapi_extra=body_schema(SubscriptionChanges, {"is_active": False}),
)
async def update_webhook_subscription(
    subscription_id: SubscriptionId,
    caller: Writer,
    body: Annotated[SubscriptionChanges, Depends(json_body(SubscriptionChanges))],
    state: StateOf,
) -> SubscriptionDocument:
    """Change the fields in the body. `is_active: false` pauses: events that occur meanwhile are never sent."""
    row = await state.subscriptions.update(caller.shop, subscription_id, body.given, actor=caller.name)
    return SubscriptionDocument(data=subscription_resource(row))


@router.delete(
    "/v1/webhook-subscriptions/{subscription_id}",
    status_code=204,
    summary="Delete a webhook subscription",
    responses=errors(*WRITE, "webhook_subscription_not_found"),
)
async def delete_webhook_subscription(subscription_id: SubscriptionId, caller: Writer, state: StateOf) -> None:
    """Delete a subscription. Nothing more is sent to it, not even retries."""
    await state.subscriptions.delete(caller.shop, subscription_id, actor=caller.name)


@router.post(
    "/v1/webhook-subscriptions/{subscription_id}/rotate-secret",
    summary="Rotate the secret of a webhook subscription",
    responses=errors(*WRITE, "webhook_subscription_not_found"),
)
async def rotate_webhook_secret(subscription_id: SubscriptionId, caller: Writer, state: StateOf) -> SecretDocument:
    """Replace the secret. The old secret is invalid at once, also for retries."""
    rotated = await state.subscriptions.rotate_secret(caller.shop, subscription_id, actor=caller.name)
    return SecretDocument(data=secret_resource(*rotated))
