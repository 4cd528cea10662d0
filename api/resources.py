"""The JSON:API shapes of the answers."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, PlainSerializer, WithJsonSchema

from db.tables import Customer, Redemption, VipTier


def _format(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


Timestamp = Annotated[
    datetime,
    PlainSerializer(_format, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-06-01T12:00:00.000Z"]}),
]


class RewardHistoryAttributes(BaseModel):
    """One redemption. `discount_code` is null until the purchase is complete."""

    reward_id: str
    reward_name: str
    reward_discount_type: str
    points_spent: int
    discount_code: str | None
    status: Literal["pending", "failed", "active", "used", "expired"]
    is_refunded: bool
    discount_code_redeemed_at: Timestamp | None
    redeemed_at: Timestamp | None
    expires_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


class RewardHistoryEntry(BaseModel):
    """A resource of type `reward_history_entry`."""

    type: Literal["reward_history_entry"] = "reward_history_entry"
    id: str
    attributes: RewardHistoryAttributes


class RewardHistoryDocument(BaseModel):
    """One reward history entry."""

    data: RewardHistoryEntry


class RefundMeta(BaseModel):
    """How the code went: false when the shop had already deleted it."""

    code_removed: bool


class RefundDocument(RewardHistoryDocument):
    """A refunded entry: `status` is `expired`, `is_refunded` true."""

    meta: RefundMeta


class CustomerTier(BaseModel):
    """The VIP tier a customer is on."""

    id: str
    name: str
    points_required: int


class CustomerAttributes(BaseModel):
    """A member and their points. `points_expire_at` is when points next expire."""

    shopify_customer_id: str
    email: str | None
    first_name: str | None
    last_name: str | None
    current_points: int
    lifetime_points: int
    redeemed_points: int
    loyalty_status: Literal["member", "excluded"]
    vip_tier: CustomerTier | None
    points_expire_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


class CustomerResource(BaseModel):
    """A resource of type `customer`; its id is Shopify's customer id."""

    type: Literal["customer"] = "customer"
    id: str
    attributes: CustomerAttributes


class CustomerDocument(BaseModel):
    """One customer."""

    data: CustomerResource


def reward_history_document(row: Redemption, code: str | None) -> RewardHistoryDocument:
    """The redemption as a client sees it."""
    attributes = RewardHistoryAttributes.model_validate(
        {
            "reward_id": row.reward_id,
            "reward_name": row.reward_name,
            "reward_discount_type": row.discount_type,
            "points_spent": row.points_spent,
            "discount_code": code,
            "status": row.status,
            "is_refunded": row.is_refunded,
            "discount_code_redeemed_at": row.discount_code_redeemed_at,
            "redeemed_at": row.discount_code_redeemed_at,
            "expires_at": row.expires_at,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
        }
    )
    return RewardHistoryDocument(data=RewardHistoryEntry(id=row.id, attributes=attributes))


def customer_document(
    row: Customer, tier: VipTier | None, *, balance: int, lifetime: int, redeemed: int, expires_at: datetime | None
) -> CustomerDocument:
    """The customer as a client sees them."""
    attributes = CustomerAttributes(
        shopify_customer_id=row.id,
        email=row.email,
        first_name=row.first_name,
        last_name=row.last_name,
        current_points=balance,
        lifetime_points=lifetime,
        redeemed_points=redeemed,
        loyalty_status="excluded" if row.excluded else "member",
        vip_tier=tier and CustomerTier(id=tier.id, name=tier.name, points_required=tier.points_required),
        points_expire_at=expires_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
    return CustomerDocument(data=CustomerResource(id=row.id, attributes=attributes))
