"""The receipt of a redemption: what happened to it, and when."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.schemas.documents import Number, Timestamp
from db.receipts import Receipt
from domain.events import EventKind


class _Part(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class RewardAsBought(_Part):
    """What the reward was when its points were taken; it may have changed since."""

    id: str = Field(examples=["reward_abc"])
    name: str = Field(examples=["£5 off your next order"])
    discount_type: str = Field(examples=["fixed_amount"])
    discount_amount: Number | None
    minimum_spend: Number | None


class LotDrawn(_Part):
    """Points that one attempt took from one lot: the oldest are taken first."""

    attempt: int
    id: Annotated[str, BeforeValidator(str)] = Field(validation_alias="lot_id", examples=["17"])
    source: str = Field(description="Where the points came from.", examples=["order"])
    points: int = Field(examples=[500])


class Step(_Part):
    """Something that happened, in words."""

    at: Timestamp
    what: str = Field(examples=["attempt 1: 500 points reserved"])


class DeliveryMade(_Part):
    """One event on one channel, and how far telling it has come."""

    event: EventKind
    channel: str = Field(examples=["klaviyo"])
    status: Literal["pending", "sent", "failed", "unknown", "skipped"] = Field(
        description="`unknown`: nobody can tell whether it was sent, and a second time would be worse than none.",
        examples=["sent"],
    )
    attempts: int
    last_error: str | None = Field(description="In the vendor's own words.", examples=[None])
    sent_at: Timestamp | None


class Reversal(_Part):
    """Points that came back to their lots: by `release` when no code was given, by `refund` later."""

    kind: Literal["release", "refund"]
    attempt: int
    points: int = Field(examples=[500])
    at: Timestamp


class ReceiptAttributes(_Part):
    """What happened to a redemption, the oldest first."""

    customer_id: str = Field(description="Shopify's customer id.", examples=["6789012345"])
    status: Literal["pending", "failed", "active", "used", "expired"] = Field(examples=["active"])
    is_refunded: bool = Field(examples=[False])
    attempts: int = Field(description="Each had points of its own reserved, and a code of its own.")
    points_spent: int = Field(examples=[500])
    reward: RewardAsBought
    expires_at: Timestamp | None = Field(description="When the code stops working; null is never.")
    steps: list[Step]
    lots: list[LotDrawn]
    deliveries: list[DeliveryMade]
    reversals: list[Reversal]


class ReceiptResource(BaseModel):
    """A resource of type `receipt`; its id is the redemption's."""

    type: Literal["receipt"] = "receipt"
    id: str = Field(examples=["cr_4k1t9zq0m2x7c8v5b3n6"])
    attributes: ReceiptAttributes


class ReceiptDocument(BaseModel):
    """One receipt."""

    data: ReceiptResource


def receipt_document(receipt: Receipt) -> ReceiptDocument:
    """The receipt as a client sees it: without codes, of which the reward history has the customer's."""
    return ReceiptDocument(data=ReceiptResource(id=receipt.id, attributes=ReceiptAttributes.model_validate(receipt)))
