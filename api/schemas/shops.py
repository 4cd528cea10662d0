"""The shop of an API key."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from api.schemas.documents import Changes, Document, Timestamp
from db.tables import Shop
from domain.orders import CancelledOrderPolicy
from services.import_format import ShopSettings
from services.shops import credentials_of

Condition = Literal["set", "unset"]
Credentials = dict[Literal["shopify", "klaviyo", "omnisend", "postscript", "webhook_secret"], Condition]

_EXAMPLE: JsonDict = {
    "domain": "mystore.myshopify.com",
    "name": "My Store",
    "currency": "GBP",
    "code_prefix": "MAGE",
    "release_grace_days": 7,
    "enroll_customers": True,
    "exclude_disabled_customers": False,
    "on_order_cancelled": "none",
    "credentials": {
        "shopify": "set",
        "klaviyo": "set",
        "omnisend": "unset",
        "postscript": "unset",
        "webhook_secret": "set",
    },
    "created_at": "2026-06-01T12:00:00.000Z",
    "updated_at": "2026-06-01T12:00:00.000Z",
}


class ShopAttributes(BaseModel):
    """A shop's settings. Credentials are not returned: `credentials` has which of them are set."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _EXAMPLE})

    domain: str
    name: str
    currency: str
    code_prefix: str
    release_grace_days: int
    enroll_customers: bool
    exclude_disabled_customers: bool
    on_order_cancelled: CancelledOrderPolicy
    credentials: dict[str, Condition]
    created_at: Timestamp
    updated_at: Timestamp


class ShopChanges(Changes, ShopSettings):
    """A partial update: a field that is left out is not changed.

    `credentials` are set by the command line only. They are accepted as they are returned, and ignored.
    """

    read_only = frozenset({"domain", "created_at", "updated_at"})

    credentials: Annotated[Credentials | None, Field(exclude=True)] = None


class ShopResource(BaseModel):
    """A resource of type `shop`; `id` is its domain."""

    type: Literal["shop"] = "shop"
    id: str = Field(examples=["mystore.myshopify.com"])
    attributes: ShopAttributes


ShopDocument = Document[ShopResource]


def shop_resource(row: Shop) -> ShopResource:
    more: dict[str, Any] = {
        "release_grace_days": row.release_grace.days,
        "credentials": {name: "set" if is_set else "unset" for name, is_set in credentials_of(row).items()},
    }
    return ShopResource(id=row.domain, attributes=ShopAttributes.model_validate({**vars(row), **more}))
