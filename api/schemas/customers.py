"""Customers."""

from datetime import UTC, date, datetime, time
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.config import JsonDict

from api.paging import ListQuery
from api.schemas.documents import (
    Changes,
    Document,
    ListDocument,
    PlainText,
    Timestamp,
    path_parameter,
    without_defaults,
)
from api.schemas.vip_tiers import CustomerTier
from db.customers import Profile
from services.import_format import CustomerFields

CustomerIdentifier = Annotated[
    str,
    path_parameter(
        "The Shopify customer id, or the email address in any case.",
        "6789012345",
        maxLength=100,
        pattern=r"^([0-9]{1,20}|[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+)$",
    ),
]


class CustomerQuery(ListQuery):
    sort: Literal[
        "created_at",
        "-created_at",
        "points",
        "-points",
        "lifetime_points",
        "-lifetime_points",
        "redeemed_points",
        "-redeemed_points",
    ] = "-created_at"
    email: Annotated[
        PlainText | None, Field(alias="filter[email]", description="Any part of the email address, in any case.")
    ] = None
    loyalty_status: Annotated[Literal["member", "excluded"] | None, Field(alias="filter[loyalty_status]")] = None

    @property
    def is_excluded(self) -> bool | None:
        """`filter[loyalty_status]` as the column has it. None: not filtered."""
        return {None: None, "member": False, "excluded": True}[self.loyalty_status]


def _day(value: object) -> object:
    # Responses have a time after the date; it is accepted and ignored.
    return datetime.fromisoformat(value).date() if isinstance(value, str) else value


Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]


_EXAMPLE: JsonDict = {
    "shopify_customer_id": "6789012345",
    "email": "jane@shopper.io",
    "first_name": "Jane",
    "last_name": "Doe",
    "current_points": 450,
    "lifetime_points": 1200,
    "redeemed_points": 750,
    "loyalty_status": "member",
    "date_of_birth": "1990-05-15T00:00:00.000Z",
    "referral_url": "https://mystore.myshopify.com?referral_code=ABC123",
    "referral_code": "ABC123",
    "vip_tier": {
        "id": "tier_gold",
        "name": "Gold",
        "points_required": 1000,
        "points_multiplier": 1.5,
        "badge_image_url": "https://mystore.example/gold.png",
        "badge_color": "#FFD700",
    },
    "points_expire_at": "2026-12-01T12:00:00.000Z",
    "created_at": "2026-06-01T12:00:00.000Z",
    "updated_at": "2026-06-01T12:00:00.000Z",
}


class CustomerAttributes(BaseModel):
    """A customer and their points. `points_expire_at` is when the next points expire."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    shopify_customer_id: str
    email: str | None
    first_name: str | None
    last_name: str | None
    current_points: int
    lifetime_points: int
    redeemed_points: int
    loyalty_status: Literal["member", "excluded"]
    date_of_birth: Timestamp | None
    referral_url: str | None
    referral_code: str | None
    vip_tier: CustomerTier | None
    points_expire_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


class CustomerChanges(Changes):
    """A partial update: a field that is left out is not changed."""

    read_only = frozenset(CustomerAttributes.model_fields) - {"date_of_birth"}

    date_of_birth: Day | None = None
    anniversary_date: Day | None = None
    excluded: Annotated[bool, Field(alias="is_excluded")] = False


class CustomerUpsert(CustomerFields):
    """A customer: the fields of an import file, without points. A field that is left out is not changed."""

    model_config = ConfigDict(json_schema_extra=without_defaults)


class BulkFailure(BaseModel):
    """A line that changed nothing, and why. `line` is its number, from 1."""

    model_config = ConfigDict(from_attributes=True)

    line: int = Field(examples=[3])
    detail: str = Field(examples=["email: String should match pattern '^[^@]+@[^@]+$'"])


class BulkAttributes(BaseModel):
    """How many customers were created and updated, and the lines that failed. Blank lines do not count."""

    model_config = ConfigDict(from_attributes=True)

    created: int = Field(examples=[2])
    updated: int = Field(examples=[1])
    failed: list[BulkFailure]


class BulkResultResource(BaseModel):
    """A resource of type `bulk_result`."""

    type: Literal["bulk_result"] = "bulk_result"
    attributes: BulkAttributes


class CustomerResource(BaseModel):
    """A resource of type `customer`; `id` is the Shopify customer id."""

    type: Literal["customer"] = "customer"
    id: str = Field(examples=["6789012345"])
    attributes: CustomerAttributes


CustomerDocument = Document[CustomerResource]
CustomerList = ListDocument[CustomerResource]
BulkResultDocument = Document[BulkResultResource]


def customer_resource(profile: Profile, *, without_tier: bool = False) -> CustomerResource:
    row = profile.customer
    attributes = {
        **vars(row),
        "shopify_customer_id": row.id,
        "current_points": profile.balance,
        "loyalty_status": "excluded" if row.excluded else "member",
        "date_of_birth": row.date_of_birth and datetime.combine(row.date_of_birth, time(), UTC),
        "vip_tier": None if without_tier else profile.tier,
        "points_expire_at": profile.next_expiry,
    }
    return CustomerResource(id=row.id, attributes=CustomerAttributes.model_validate(attributes))
