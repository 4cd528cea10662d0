"""Adjustments of a customer's points."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class AdjustmentAttributes(BaseModel):
    """What was done. `adjustment` is what really moved: a deduction stops at a balance of zero."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "shopify_customer_id": "6789012345",
                "adjustment": 500,
                "points_before": 200,
                "points_after": 700,
                "current_points": 700,
                "note": "Goodwill gesture after delayed order",
            }
        }
    )

    shopify_customer_id: str
    adjustment: int
    points_before: int
    points_after: int
    current_points: int
    note: str | None


class AdjustmentResource(BaseModel):
    """A resource of type `points_adjustment`; its id is Shopify's customer id."""

    type: Literal["points_adjustment"] = "points_adjustment"
    id: str = Field(examples=["6789012345"])
    attributes: AdjustmentAttributes


class AdjustmentDocument(BaseModel):
    """One adjustment."""

    data: AdjustmentResource
