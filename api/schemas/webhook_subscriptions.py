"""Webhook subscriptions."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from api.paging import ListQuery
from api.schemas.documents import Changes, Document, ListDocument, Request, Timestamp, path_parameter
from db.tables import WebhookSubscription
from domain.subscriptions import WebhookEvent

SubscriptionId = Annotated[
    str, path_parameter("The subscription's id.", "whsub_4k1t9zq0m2x7c8v5b3n6", pattern="^whsub_[a-z0-9]{20}$")
]
Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2048, pattern=r"^[^\x00-\x20\x7f]+$"),
    # http is accepted only where private targets are allowed, for development and tests.
    Field(json_schema_extra={"format": "uri", "pattern": r"^https://[^\x00-\x20\x7f]+$"}),
]
Events = Annotated[list[WebhookEvent], Field(min_length=1, max_length=len(WebhookEvent))]
Description = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$")] | None

_EXAMPLE: JsonDict = {
    "url": "https://example.com/webhooks",
    "events": ["points.redeemed"],
    "is_active": True,
    "description": "Our CRM",
    "created_at": "2026-06-01T12:00:00.000Z",
    "updated_at": "2026-06-01T12:00:00.000Z",
}


class SubscriptionQuery(ListQuery):
    sort: Literal["created_at", "-created_at"] = "-created_at"


class NewSubscription(Request):
    """An HTTPS URL and the events to send to it."""

    url: Url
    events: Events
    description: Description = None


class SubscriptionChanges(Changes):
    """A partial update: a field that is left out is not changed."""

    read_only = frozenset({"created_at", "updated_at", "secret"})

    url: Url = ""
    events: Events = Field(default_factory=list[WebhookEvent])
    is_active: bool = True
    description: Description = None


class SubscriptionAttributes(BaseModel):
    """A URL and the events that are sent to it. `is_active` is false while the subscription is paused."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _EXAMPLE})

    url: str
    events: list[WebhookEvent]
    is_active: bool
    description: str | None
    created_at: Timestamp
    updated_at: Timestamp


class SubscriptionResource(BaseModel):
    """A resource of type `webhook_subscription`."""

    type: Literal["webhook_subscription"] = "webhook_subscription"
    id: str = Field(examples=["whsub_4k1t9zq0m2x7c8v5b3n6"])
    attributes: SubscriptionAttributes


SubscriptionDocument = Document[SubscriptionResource]
SubscriptionList = ListDocument[SubscriptionResource]


class SecretAttributes(SubscriptionAttributes):
    """A subscription with the `secret` that signs its deliveries. It is not returned again."""

    model_config = ConfigDict(json_schema_extra={"example": {**_EXAMPLE, "secret": "9f86d081" * 8}})

    secret: str


class SecretResource(BaseModel):
    """A resource of type `webhook_subscription`, with its secret."""

    type: Literal["webhook_subscription"] = "webhook_subscription"
    id: str = Field(examples=["whsub_4k1t9zq0m2x7c8v5b3n6"])
    attributes: SecretAttributes


SecretDocument = Document[SecretResource]


def subscription_resource(row: WebhookSubscription) -> SubscriptionResource:
    """A subscription's row as a resource, without the secret."""
    return SubscriptionResource(id=row.id, attributes=SubscriptionAttributes.model_validate(row))


def secret_resource(row: WebhookSubscription, secret: str) -> SecretResource:
    attributes = dict(SubscriptionAttributes.model_validate(row))
    return SecretResource(id=row.id, attributes=SecretAttributes(**attributes, secret=secret))
