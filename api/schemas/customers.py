"""Customers."""

from datetime import UTC, datetime, time
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.documents import ListMeta, Timestamp
from api.schemas.tiers import CustomerTier
from db.customers import Profile


class CustomerAttributes(BaseModel):
    """A member and their points. `points_expire_at` is when points next expire."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
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
        }
    )

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


class CustomerResource(BaseModel):
    """A resource of type `customer`; its id is Shopify's customer id."""

    type: Literal["customer"] = "customer"
    id: str = Field(examples=["6789012345"])
    attributes: CustomerAttributes


class CustomerDocument(BaseModel):
    """One customer."""

    data: CustomerResource


class CustomerList(BaseModel):
    """A page of customers."""

    data: list[CustomerResource]
    meta: ListMeta


def customer_resource(profile: Profile, *, without_tier: bool = False) -> CustomerResource:
    """The customer as a client sees them."""
    row = profile.customer
    attributes = CustomerAttributes(
        shopify_customer_id=row.id,
        email=row.email,
        first_name=row.first_name,
        last_name=row.last_name,
        current_points=profile.balance,
        lifetime_points=row.lifetime_points,
        redeemed_points=row.redeemed_points,
        loyalty_status="excluded" if row.excluded else "member",
        date_of_birth=row.date_of_birth and datetime.combine(row.date_of_birth, time(), UTC),
        referral_url=row.referral_url,
        referral_code=row.referral_code,
        vip_tier=None if without_tier or profile.tier is None else CustomerTier.model_validate(profile.tier),
        points_expire_at=profile.next_expiry,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
    return CustomerResource(id=row.id, attributes=attributes)
