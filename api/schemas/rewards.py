"""Rewards."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from api.paging import ListQuery
from api.schemas.documents import (
    Absent,
    Changes,
    Document,
    ListDocument,
    Number,
    Timestamp,
    path_parameter,
    without_defaults,
)
from db.tables import Reward
from domain.discounts import DiscountType
from domain.orders import CancelledOrderPolicy
from domain.reward_terms import ItemKind, Pricing, PurchaseType
from services.import_parts import Text
from services.reward_format import RewardFields

RewardId = Annotated[
    str,
    path_parameter("The reward's id.", "reward_abc", minLength=1, maxLength=255, pattern=r"^[^\x00-\x1f\x7f]+$"),
]


class RewardQuery(ListQuery):
    sort: Literal["created_at", "-created_at", "points_cost", "-points_cost"] = "-created_at"
    is_active: Annotated[bool | None, Field(alias="filter[is_active]")] = None


REWARD_EXAMPLE: JsonDict = {
    "name": "£5 off your next order",
    "description": "For any order from £20.",
    "discount_type": "fixed_amount",
    "reward_type": "discount",
    "points_cost": 500,
    "discount_amount": 5.0,
    "minimum_spend": 20.0,
    "is_active": True,
    "max_redemptions": None,
    "expiry_days": 30,
    "created_at": "2026-06-01T12:00:00.000Z",
    "updated_at": "2026-06-01T12:00:00.000Z",
}


class RewardAttributes(BaseModel):
    """A discount that customers buy with points.

    `discount_amount` is in the shop's currency, or in percent; null if the discount has no amount. A code expires
    `expiry_days` after the purchase; null: never. `max_redemptions` is for all customers together; null: unlimited.

    Fields after `updated_at` are left out where they are not set; `pricing` is left out for a fixed price.
    """

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": REWARD_EXAMPLE})

    name: str
    description: str | None
    discount_type: DiscountType
    reward_type: Literal["discount", "tier"]
    points_cost: int
    discount_amount: Number | None
    minimum_spend: Number | None
    is_active: bool
    max_redemptions: int | None
    expiry_days: int | None
    created_at: Timestamp
    updated_at: Timestamp
    pricing: Annotated[Pricing, Field(exclude_if=lambda value: value == Pricing.FIXED)] = Pricing.FIXED
    points_step: Annotated[int | None, Absent] = None
    value_per_step: Annotated[Number | None, Absent] = None
    min_points: Annotated[int | None, Absent] = None
    max_points: Annotated[int | None, Absent] = None
    max_value: Annotated[Number | None, Absent] = None
    applies_to: Annotated[dict[ItemKind, list[str]] | None, Absent] = None
    purchase_type: Annotated[PurchaseType | None, Absent] = None
    billing_cycles: Annotated[int | None, Absent] = None
    starts_at: Annotated[Timestamp | None, Absent] = None
    ends_at: Annotated[Timestamp | None, Absent] = None
    cooldown_days: Annotated[int | None, Absent] = None
    max_per_customer: Annotated[int | None, Absent] = None
    on_order_cancelled: Annotated[CancelledOrderPolicy | None, Absent] = None


def _of_new_reward(schema: dict[str, Any]) -> None:
    without_defaults(schema)
    # The price of a reward with variable pricing is that of a step.
    schema["required"] = [name for name in RewardFields.required if name != "points_cost"]


class NewReward(RewardFields):
    """A reward: the fields of an import file. Default `id`: a random one."""

    model_config = ConfigDict(json_schema_extra=_of_new_reward)

    id: Text | None = None


class RewardChanges(Changes, RewardFields):
    """A partial update: a field that is left out is not changed."""

    read_only = frozenset(RewardAttributes.model_fields) - frozenset(RewardFields.model_fields)


class RewardResource(BaseModel):
    """A resource of type `reward`."""

    type: Literal["reward"] = "reward"
    id: str = Field(examples=["reward_abc"])
    attributes: RewardAttributes


RewardDocument = Document[RewardResource]
RewardList = ListDocument[RewardResource]


def reward_resource(row: Reward) -> RewardResource:
    return RewardResource(id=row.id, attributes=RewardAttributes.model_validate(row))
