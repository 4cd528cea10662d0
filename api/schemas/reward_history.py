"""The reward history: redemptions as clients see them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from api.paging import ListQuery
from api.schemas.documents import CursorDocument, Document, ListDocument, PlainText, Timestamp, path_parameter
from api.schemas.shopify_webhooks import Time
from db.reward_history import Position
from db.tables import Redemption
from domain.redemptions import RedemptionStatus

EntryId = Annotated[str, path_parameter("The entry's id.", "cr_4k1t9zq0m2x7c8v5b3n6", pattern="^cr_[a-z0-9]{20}$")]


class RewardHistoryQuery(ListQuery):
    sort: Literal["created_at", "-created_at", "points_spent", "-points_spent"] = "-created_at"
    status: Annotated[Literal["active", "used", "expired"] | None, Field(alias="filter[status]")] = None


def _moment(text: object) -> object:
    # A `+` that is not escaped is read as a space.
    return text.replace(" ", "+") if isinstance(text, str) else text


def _in_utc(moment: datetime) -> datetime:
    # The first and last hours of the calendar have no time in UTC.
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return datetime(1, 1, 1, tzinfo=UTC) if moment.year == 1 else datetime(9999, 12, 31, tzinfo=UTC)


_Moment = Annotated[Time, BeforeValidator(_moment), AfterValidator(_in_utc)]
_CURSOR = r"^[0-9]{1,16}_cr_[a-z0-9]{20}$"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = timedelta(milliseconds=1)
"""Resolution of times in responses."""


class ShopHistoryQuery(BaseModel):
    """Query parameters of the reward history of a shop. Unknown parameters are ignored."""

    after: Annotated[
        Annotated[str, StringConstraints(pattern=_CURSOR)] | None,
        Field(alias="page[after]", description="Where the page begins: from `links.next` of the page before."),
    ] = None
    size: Annotated[int, Field(alias="page[size]", ge=1, le=100, description="Resources per page.")] = 20
    sort: Literal["created_at", "-created_at"] = "-created_at"
    status: Annotated[RedemptionStatus | None, Field(alias="filter[status]")] = None
    reward_id: Annotated[PlainText | None, Field(alias="filter[reward_id]")] = None
    customer: Annotated[
        PlainText | None, Field(alias="filter[customer]", description="Shopify customer id or email address.")
    ] = None
    created_after: Annotated[
        _Moment | None, Field(alias="filter[created_after]", description="Only entries that were created later.")
    ] = None
    created_before: Annotated[
        _Moment | None, Field(alias="filter[created_before]", description="Only entries that were created earlier.")
    ] = None

    @property
    def created_from(self) -> datetime | None:
        """The first time that is listed: later than `created_after` as responses show times, in milliseconds."""
        if self.created_after is None or self.created_after > datetime.max.replace(tzinfo=UTC) - 2 * _SHOWN:
            return self.created_after
        return self.created_after - (self.created_after - _EPOCH) % _SHOWN + _SHOWN

    @property
    def position(self) -> Position | None:
        """Where the page begins. None: at the first entry."""
        if self.after is None:
            return None
        microseconds, _, redemption_id = self.after.partition("_")
        return Position(_EPOCH + timedelta(microseconds=int(microseconds)), redemption_id)

    def link_to(self, position: Position | None) -> str | None:
        """Path of the page at this position, with the same parameters."""
        if position is None:
            return None
        cursor = f"{(position.created_at - _EPOCH) // timedelta(microseconds=1)}_{position.redemption_id}"
        following = self.model_copy(update={"after": cursor})
        named = {*self.model_fields_set, "after"}
        parameters = following.model_dump(mode="json", by_alias=True, include=named, exclude_none=True)
        return f"/v1/reward-history?{urlencode(parameters)}"


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


class QueueMeta(BaseModel):
    """Where a purchase waits. `queue_position`: among the shop's purchases that wait for their codes, from 1."""

    queue_position: Annotated[int, Field(ge=1, examples=[17])]


class QueuedPurchaseAttributes(RewardHistoryAttributes):
    """A redemption that waits for its discount code."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={"example": {**_EXAMPLE, "status": "pending", "discount_code": None}},
    )


class QueuedPurchaseEntry(BaseModel):
    """A resource of type `reward_history_entry`."""

    model_config = ConfigDict(from_attributes=True)

    type: Literal["reward_history_entry"] = "reward_history_entry"
    id: str = Field(examples=["cr_4k1t9zq0m2x7c8v5b3n6"])
    attributes: QueuedPurchaseAttributes


class QueuedPurchaseDocument(BaseModel):
    """A purchase that waits for its discount code: `status` is `pending`, `discount_code` is null."""

    data: QueuedPurchaseEntry
    meta: QueueMeta


RewardHistoryList = ListDocument[RewardHistoryEntry]
RewardHistoryPage = CursorDocument[RewardHistoryEntry]


def reward_history_entry(row: Redemption, code: str | None) -> RewardHistoryEntry:
    more = {
        "discount_code": code,
        "status": row.shown_status,
        "reward_discount_type": row.discount_type,
        "redeemed_at": row.discount_code_redeemed_at,
    }
    return RewardHistoryEntry(id=row.id, attributes=RewardHistoryAttributes.model_validate({**vars(row), **more}))
