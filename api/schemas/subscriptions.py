"""What is said of webhook subscriptions, in requests and in answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from api.requests import without_defaults
from api.schemas.documents import ListMeta, Timestamp
from db.tables import WebhookSubscription
from domain.subscriptions import WebhookEvent

Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2048, pattern=r"^[^\x00-\x20\x7f]+$"),
    # Where the sandbox is allowed, so is plain http; a client is told what is so everywhere else.
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


class NewSubscription(BaseModel):
    """Who is to be told of what."""

    url: Url
    events: Events
    description: Description = None


class SubscriptionChanges(BaseModel):
    """What is to be different; what is left out stays."""

    model_config = ConfigDict(json_schema_extra=without_defaults)

    url: Url = ""
    events: Events = []
    is_active: bool = True
    description: Description = None

    @property
    def changes(self) -> dict[str, Any]:
        """Column → new value."""
        return self.model_dump(mode="json", exclude_unset=True)


class SubscriptionAttributes(BaseModel):
    """Who is told of what. `is_active` is false while it is paused."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

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


class SubscriptionDocument(BaseModel):
    """One subscription, without its secret."""

    data: SubscriptionResource


class SubscriptionList(BaseModel):
    """One page of subscriptions."""

    data: list[SubscriptionResource]
    meta: ListMeta


class SecretAttributes(SubscriptionAttributes):
    """With `secret`, which signs deliveries. It is told here and never again."""

    model_config = ConfigDict(json_schema_extra={"example": {**_EXAMPLE, "secret": "9f86d081" * 8}})

    secret: str


class SecretResource(BaseModel):
    """A resource of type `webhook_subscription`, with its secret."""

    type: Literal["webhook_subscription"] = "webhook_subscription"
    id: str = Field(examples=["whsub_4k1t9zq0m2x7c8v5b3n6"])
    attributes: SecretAttributes


class SecretDocument(BaseModel):
    """One subscription, with its secret."""

    data: SecretResource


def subscription_resource(row: WebhookSubscription) -> SubscriptionResource:
    """The subscription as a client sees it."""
    return SubscriptionResource(id=row.id, attributes=SubscriptionAttributes.model_validate(_attributes(row)))


def secret_document(row: WebhookSubscription, secret: str) -> SecretDocument:
    """The subscription as a client sees it when its secret is new."""
    attributes = SecretAttributes.model_validate({**_attributes(row), "secret": secret})
    return SecretDocument(data=SecretResource(id=row.id, attributes=attributes))


def _attributes(row: WebhookSubscription) -> dict[str, Any]:
    return {name: getattr(row, name) for name in SubscriptionAttributes.model_fields}
