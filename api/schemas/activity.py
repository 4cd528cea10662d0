"""The activity log of a customer."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from api.paging import ListQuery
from api.schemas.documents import ListDocument, Timestamp
from db.tables import ActivityLog
from domain.activity_log import ActivityKind


class ActivityQuery(ListQuery):
    sort: Literal["created_at", "-created_at"] = "-created_at"


_EXAMPLE: JsonDict = {
    "kind": "points_adjusted",
    "actor": "API key 3 (support desk)",
    "reward_history_entry_id": None,
    "details": {"earning_id": "cer_4k1t9zq0m2x7c8v5b3n6", "asked": 500, "points": 500, "note": "Late parcel"},
    "created_at": "2026-06-01T12:00:00.000Z",
    "facts": {"earning_id": "cer_4k1t9zq0m2x7c8v5b3n6", "asked": 500, "points": 500, "note": "Late parcel"},
    "at": "2026-06-01T12:00:00.000Z",
}


class ActivityAttributes(BaseModel):
    """Something that happened to a customer. `details` depend on `kind`; after an erasure they are empty."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    kind: ActivityKind
    actor: str | None = Field(description="An API key, by id and label, or an operator. Null: without a request.")
    reward_history_entry_id: str | None
    details: dict[str, Any]
    created_at: Timestamp
    facts: dict[str, Any] = Field(description="The same as `details`.")
    at: Timestamp = Field(description="The same as `created_at`.")


class ActivityEntry(BaseModel):
    """A resource of type `activity_entry`."""

    type: Literal["activity_entry"] = "activity_entry"
    id: str = Field(examples=["17"])
    attributes: ActivityAttributes


ActivityList = ListDocument[ActivityEntry]


def activity_entry(row: ActivityLog) -> ActivityEntry:
    details = dict(row.facts)
    attributes = ActivityAttributes(
        kind=ActivityKind(row.kind),
        # Entries of the command line have it as `by`.
        actor=details.pop("actor", None) or details.pop("by", None),
        reward_history_entry_id=row.redemption_id,
        details=details,
        created_at=row.created_at,
        facts=details,
        at=row.created_at,
    )
    return ActivityEntry(id=str(row.id), attributes=attributes)
