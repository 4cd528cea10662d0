"""The reward history: redemptions as clients see them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from api.paging import ListQuery
from api.schemas.documents import Document, ListDocument, Timestamp, path_parameter
from db.tables import Redemption

EntryId = Annotated[str, path_parameter("The entry's id.", "cr_4k1t9zq0m2x7c8v5b3n6", pattern="^cr_[a-z0-9]{20}$")]


class RewardHistoryQuery(ListQuery):
    sort: Literal["created_at", "-created_at", "points_spent", "-points_spent"] = "-created_at"
    status: Annotated[Literal["active", "used", "expired"] | None, Field(alias="filter[status]")] = None


_EXAMPLE: JsonDict = {
    "reward_id": "reward_abc",
    "reward_name": "£5 off your next order",
    "reward_discount_type": "fixed_amount",
    "points_spent": 500,
    "discount_code": "MAGE-7K2Q9XWDFM",
    "status": "active",
    "is_refunded": False,
    "discount_code_redeemed_at": None,
    "redeemed_at": None,
    "expires_at": "2026-07-01T12:00:00.000Z",
    "created_at": "2026-06-01T12:00:00.000Z",
    "updated_at": "2026-06-01T12:00:00.000Z",
}


class RewardHistoryAttributes(BaseModel):
    """A redemption. `discount_code` is null until the purchase is complete, `redeemed_at` until the code is used.

    `status` is `expired` from `expires_at` on, unless the code was used.
    """

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

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
    id: str = Field(examples=["cr_4k1t9zq0m2x7c8v5b3n6"])
    attributes: RewardHistoryAttributes


RewardHistoryDocument = Document[RewardHistoryEntry]
RewardHistoryList = ListDocument[RewardHistoryEntry]


def reward_history_entry(row: Redemption, code: str | None) -> RewardHistoryEntry:
    more = {
        "discount_code": code,
        "status": row.shown_status,
        "reward_discount_type": row.discount_type,
        "redeemed_at": row.discount_code_redeemed_at,
    }
    return RewardHistoryEntry(id=row.id, attributes=RewardHistoryAttributes.model_validate({**vars(row), **more}))
