"""The earning history."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.documents import ListMeta, Number, Timestamp
from db.tables import Earning


class EarningHistoryAttributes(BaseModel):
    """Points that were given, or taken by an adjustment: then they are negative.

    Rules and orders are not known here: what belongs to them is null, the multiplier is 1, and points are never
    pending.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "earning_rule_id": None,
                "action": "adjustment",
                "points": 150,
                "base_points": 150,
                "points_multiplier": 1.0,
                "status": "approved",
                "order_id": None,
                "order_number": None,
                "shopify_date": None,
                "points_due_at": None,
                "points_given_at": "2026-06-01T12:00:00.000Z",
                "points_expiry_at": None,
                "manual_intervention": True,
                "created_at": "2026-06-01T12:00:00.000Z",
                "updated_at": "2026-06-01T12:00:00.000Z",
            }
        }
    )

    earning_rule_id: str | None = None
    action: Literal["import", "adjustment"]
    points: int
    base_points: int
    points_multiplier: Number
    status: Literal["pending", "approved", "rejected"]
    order_id: str | None = None
    order_number: str | None = None
    shopify_date: Timestamp | None = None
    points_due_at: Timestamp | None = None
    points_given_at: Timestamp
    points_expiry_at: Timestamp | None
    manual_intervention: bool
    created_at: Timestamp
    updated_at: Timestamp


class EarningHistoryEntry(BaseModel):
    """A resource of type `earning_history_entry`."""

    type: Literal["earning_history_entry"] = "earning_history_entry"
    id: str = Field(examples=["cp_4k1t9zq0m2x7c8v5b3n6"])
    attributes: EarningHistoryAttributes


class EarningHistoryList(BaseModel):
    """A page of a customer's earning history."""

    data: list[EarningHistoryEntry]
    meta: ListMeta


def earning_history_entry(row: Earning, expires_at: datetime | None) -> EarningHistoryEntry:
    """The earning as a client sees it. It never changes, so all its times are one."""
    attributes = EarningHistoryAttributes.model_validate(
        {
            "action": row.action,
            "points": row.points,
            "base_points": row.points,
            "points_multiplier": 1,
            "status": row.status,
            "points_given_at": row.created_at,
            "points_expiry_at": expires_at,
            "manual_intervention": row.action == "adjustment",
            "created_at": row.created_at,
            "updated_at": row.created_at,
        }
    )
    return EarningHistoryEntry(id=row.id, attributes=attributes)
