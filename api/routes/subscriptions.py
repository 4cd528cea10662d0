"""/v1/webhook-subscriptions: who is told of what."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Caller, Reader, Writer
from api.errors import ApiError, ErrorSource
from api.openapi import BODY, READ, WRITE, errors
from api.paging import ListQuery
from api.parameters import SubscriptionId
from api.requests import body_schema, json_body
from api.schemas.subscriptions import (
    NewSubscription,
    SecretDocument,
    SubscriptionChanges,
    SubscriptionDocument,
    SubscriptionList,
    secret_document,
    subscription_resource,
)
from api.state import State, StateOf
from clients.targets import TargetRefused
from db import subscriptions
from db.tables import WebhookSubscription
from domain.ids import new_id
from domain.subscriptions import WebhookEvent, new_secret

router = APIRouter(tags=["Webhook subscriptions"])


class SubscriptionQuery(ListQuery):
    """What the list of subscriptions can be asked for."""

    sort: Literal["created_at", "-created_at"] = "-created_at"


_EXAMPLE = {"url": "https://example.com/webhooks", "events": [WebhookEvent.POINTS_REDEEMED], "description": "Our CRM"}


@router.post(
    "/v1/webhook-subscriptions",
    status_code=201,
    summary="Create a webhook subscription",
    responses=errors(*BODY, *WRITE),
    openapi_extra=body_schema(NewSubscription, _EXAMPLE),
)
async def create_webhook_subscription(
    caller: Writer, body: Annotated[NewSubscription, Depends(json_body(NewSubscription))], state: StateOf
) -> SecretDocument:
    """Have a public https address told of events; the answer holds the secret that deliveries are signed with.

    Sent are `points.redeemed` and `points.refunded`. Mage's other events can be subscribed, and are never sent.
    """
    await _check(state, body.url)
    secret = new_secret()
    row = WebhookSubscription(
        **body.model_dump(mode="json"),
        id=new_id("whsub"),
        shop_id=caller.shop.id,
        secret=state.vault.seal_bytes(secret.encode()),
    )
    async with state.sessions.begin() as session:
        session.add(row)
        await _written(session, row)
    return secret_document(row, secret)


@router.get(
    "/v1/webhook-subscriptions", summary="List webhook subscriptions", responses=errors("invalid_request", *READ)
)
async def list_webhook_subscriptions(
    query: Annotated[SubscriptionQuery, Query()], caller: Reader, state: StateOf
) -> SubscriptionList:
    """The shop's subscriptions, paused ones included."""
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
    """One subscription, without its secret."""
    async with state.sessions() as session:
        row = await subscriptions.find_subscription(session, caller.shop.id, subscription_id)
    if row is None:
        raise _unknown(subscription_id)
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
    """Change what is named and nothing else. `is_active: false` pauses: what happens meanwhile is never sent."""
    if "url" in body.changes:
        await _check(state, body.url)
    async with state.sessions.begin() as session:
        row = await _locked(session, caller, subscription_id)
        for column, value in body.changes.items():
            setattr(row, column, value)
        await _written(session, row)
    return SubscriptionDocument(data=subscription_resource(row))


@router.delete(
    "/v1/webhook-subscriptions/{subscription_id}",
    status_code=204,
    summary="Delete a webhook subscription",
    responses=errors(*WRITE, "webhook_subscription_not_found"),
)
async def delete_webhook_subscription(subscription_id: SubscriptionId, caller: Writer, state: StateOf) -> None:
    """Nothing is sent to it any more, not even what was tried before."""
    async with state.sessions.begin() as session:
        await session.delete(await _locked(session, caller, subscription_id))


@router.post(
    "/v1/webhook-subscriptions/{subscription_id}/rotate-secret",
    summary="Rotate the secret of a webhook subscription",
    responses=errors(*WRITE, "webhook_subscription_not_found"),
)
async def rotate_webhook_secret(subscription_id: SubscriptionId, caller: Writer, state: StateOf) -> SecretDocument:
    """Replace the secret. The old one signs nothing from now on, not even what was tried before."""
    secret = new_secret()
    async with state.sessions.begin() as session:
        row = await _locked(session, caller, subscription_id)
        row.secret = state.vault.seal_bytes(secret.encode())
        await _written(session, row)
    return secret_document(row, secret)


def _unknown(subscription_id: str) -> ApiError:
    return ApiError("webhook_subscription_not_found", f"Webhook subscription '{subscription_id}' not found")


async def _locked(session: AsyncSession, caller: Caller, subscription_id: str) -> WebhookSubscription:
    row = await subscriptions.lock_subscription(session, caller.shop.id, subscription_id)
    if row is None:
        raise _unknown(subscription_id)
    return row


async def _written(session: AsyncSession, row: WebhookSubscription) -> None:
    """Write it and read what the database made of it."""
    await session.flush()
    await session.refresh(row)


async def _check(state: State, url: str) -> None:
    try:
        await state.webhook_targets.check(url)
    except TargetRefused as error:
        raise ApiError("invalid_request", f"url: {error}", source=ErrorSource(pointer="/url")) from None
