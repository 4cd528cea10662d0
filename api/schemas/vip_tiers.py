"""VIP tiers."""

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from api.schemas.documents import Number, Timestamp
from api.schemas.rewards import REWARD_EXAMPLE, RewardAttributes
from db.tables import Reward, VipTier


class TierReward(RewardAttributes):
    """A reward that only customers on the tier can purchase."""

    model_config = ConfigDict(json_schema_extra={"example": {"id": "reward_gold", **REWARD_EXAMPLE}})

    id: str = Field(examples=["reward_abc"])


_EXAMPLE: JsonDict = {
    "name": "Gold",
    "description": "Our best customers.",
    "points_required": 1000,
    "points_multiplier": 1.5,
    "badge_image_url": None,
    "badge_color": "#FFD700",
    "rewards": [],
    "created_at": "2026-06-01T12:00:00.000Z",
    "updated_at": "2026-06-01T12:00:00.000Z",
}


class CustomerTier(BaseModel):
    """The VIP tier of a customer."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=["tier_gold"])
    name: str
    points_required: int
    points_multiplier: Number
    badge_image_url: str | None
    badge_color: str | None


class TierAttributes(BaseModel):
    """A level that customers reach by lifetime points. `points_multiplier` is informational and not applied."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _EXAMPLE})

    name: str
    description: str | None
    points_required: int
    points_multiplier: Number
    badge_image_url: str | None
    badge_color: str | None
    rewards: list[TierReward] = []
    created_at: Timestamp
    updated_at: Timestamp


class TierResource(BaseModel):
    """A resource of type `vip_tier`."""

    type: Literal["vip_tier"] = "vip_tier"
    id: str = Field(examples=["tier_gold"])
    attributes: TierAttributes


class TierList(BaseModel):
    """All VIP tiers of the shop, lowest first."""

    data: list[TierResource]


def tier_resource(row: VipTier, rewards: Iterable[Reward]) -> TierResource:
    attributes = TierAttributes.model_validate(row)
    attributes.rewards = [TierReward.model_validate(reward) for reward in rewards]
    return TierResource(id=row.id, attributes=attributes)
