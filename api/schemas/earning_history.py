"""The earning history."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from api.paging import ListQuery
from api.schemas.documents import ListDocument, Number, Timestamp
from db.tables import Earning
from domain.points import EarningAction


class EarningQuery(ListQuery):
    sort: Literal["created_at", "-created_at", "points", "-points", "points_given_at", "-points_given_at"] = (
        "-created_at"
    )
    status: Annotated[Literal["pending", "approved", "rejected"] | None, Field(alias="filter[status]")] = None


_EXAMPLE: JsonDict = {
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


class EarningHistoryAttributes(BaseModel):
    """Points that were awarded, or deducted by an adjustment (negative).

    Fields of earning rules and orders are always null, `points_multiplier` is always 1, `status` is never `pending`.
    """

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

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
    id: str = Field(examples=["cer_4k1t9zq0m2x7c8v5b3n6"])
    attributes: EarningHistoryAttributes


EarningHistoryList = ListDocument[EarningHistoryEntry]


def earning_history_entry(row: Earning, expires_at: datetime | None) -> EarningHistoryEntry:
    """An earning's row as a resource. It never changes, so all its times are the same."""
    attributes = EarningHistoryAttributes.model_validate(
        {
            **vars(row),
            "base_points": row.points,
            "points_multiplier": 1,
            "points_given_at": row.created_at,
            "points_expiry_at": expires_at,
            "manual_intervention": row.action == EarningAction.ADJUSTMENT,
            "updated_at": row.created_at,
        }
    )
    return EarningHistoryEntry(id=row.id, attributes=attributes)
