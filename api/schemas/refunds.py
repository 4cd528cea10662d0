"""Refunds."""

from typing import Annotated

from pydantic import BaseModel, StringConstraints

from api.schemas.documents import PlainText, Request
from api.schemas.reward_history import RewardHistoryDocument


class RefundRequest(Request):
    """The reason of the refund, for the activity log."""

    reason: Annotated[PlainText, StringConstraints(max_length=500)] | None = None


class RefundMeta(BaseModel):
    """`code_removed` is false if the code had already been deleted at Shopify."""

    code_removed: bool


class RefundDocument(RewardHistoryDocument):
    """A refunded entry: `status` is `expired`, `is_refunded` is true."""

    meta: RefundMeta
