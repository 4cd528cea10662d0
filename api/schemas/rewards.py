"""Rewards."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from api.schemas.documents import ListMeta, Number, Timestamp
from db.tables import Reward
from domain.discounts import DiscountType

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
    """What points can be spent on.

    `discount_amount` is in the shop's currency, or in percent; null where the discount has no figure. `expiry_days` is
    how long a code lives; `max_redemptions` counts all customers together, null is unlimited.
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


class RewardResource(BaseModel):
    """A resource of type `reward`."""

    type: Literal["reward"] = "reward"
    id: str = Field(examples=["reward_abc"])
    attributes: RewardAttributes


class RewardDocument(BaseModel):
    """One reward."""

    data: RewardResource


class RewardList(BaseModel):
    """A page of rewards."""

    data: list[RewardResource]
    meta: ListMeta


def reward_resource(row: Reward) -> RewardResource:
    """The reward as a client sees it."""
    return RewardResource(id=row.id, attributes=RewardAttributes.model_validate(row))
