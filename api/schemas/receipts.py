"""Receipts of redemptions."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.schemas.documents import Document, Number, Timestamp
from db.receipts import Receipt
from domain.events import EventKind
from domain.failures import FailureCode


class _Part(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class RewardAsBought(_Part):
    """The reward at the time of the purchase. It may have changed since."""

    id: str = Field(examples=["reward_abc"])
    name: str = Field(examples=["£5 off your next order"])
    discount_type: str = Field(examples=["fixed_amount"])
    discount_amount: Number | None
    minimum_spend: Number | None


class LotDrawn(_Part):
    """Points that an attempt drew from one lot. The oldest points are drawn first."""

    attempt: int
    id: Annotated[str, BeforeValidator(str)] = Field(validation_alias="lot_id", examples=["17"])
    source: str = Field(description="Where the points came from.", examples=["order"])
    points: int = Field(examples=[500])


class Step(_Part):
    """A step of the redemption."""

    at: Timestamp
    what: str = Field(examples=["attempt 1: 500 points reserved"])


class DeliveryMade(_Part):
    """Delivery of one event on one channel."""

    event: EventKind
    channel: str = Field(examples=["klaviyo"])
    status: Literal["pending", "sent", "failed", "unknown", "skipped"] = Field(
        description="`unknown`: it may have been sent, and is not retried because it must not be received twice.",
        examples=["sent"],
    )
    attempts: int
    last_error: str | None = Field(description="The vendor's error message.", examples=[None])
    sent_at: Timestamp | None


class Reversal(_Part):
    """Points returned to their lots: `release` if the purchase failed, `refund` after a refund."""

    kind: Literal["release", "refund"]
    attempt: int
    points: int = Field(examples=[500])
    at: Timestamp


class ReissueMade(_Part):
    """The reissue of the code after an order was cancelled or fully refunded."""

    order_id: str = Field(description="Shopify's id of the order.", examples=["820982911946154508"])
    status: Literal["pending", "done", "refused"] = Field(
        description="`refused`: another order has used the code.", examples=["done"]
    )
    requested_at: Timestamp
    reissued_at: Timestamp | None
    expires_at: Timestamp | None = Field(description="When the new code expires. Null: never.")


class Failure(_Part):
    """Why an attempt failed."""

    attempt: int
    code: FailureCode
    reason: str | None = Field(
        description="Shopify's words, or those of Pointsaga.", examples=["Shopify: HTTP 503: Service Unavailable"]
    )
    at: Timestamp


class ReceiptAttributes(_Part):
    """Everything that happened to a redemption, oldest first."""

    customer_id: str = Field(description="The Shopify customer id.", examples=["6789012345"])
    status: Literal["pending", "failed", "active", "used", "expired"] = Field(examples=["active"])
    is_refunded: bool = Field(examples=[False])
    attempts: int = Field(description="Number of attempts. Each reserved points and had its own code.")
    points_spent: int = Field(examples=[500])
    reward: RewardAsBought
    expires_at: Timestamp | None = Field(description="When the code expires. Null: never.")
    steps: list[Step]
    lots: list[LotDrawn]
    deliveries: list[DeliveryMade]
    reversals: list[Reversal]
    reissues: list[ReissueMade]
    failures: list[Failure]


class ReceiptResource(BaseModel):
    """A resource of type `receipt`; `id` is the redemption's id."""

    type: Literal["receipt"] = "receipt"
    id: str = Field(examples=["cr_4k1t9zq0m2x7c8v5b3n6"])
    attributes: ReceiptAttributes


ReceiptDocument = Document[ReceiptResource]


def receipt_resource(receipt: Receipt) -> ReceiptResource:
    """A receipt as a resource, without discount codes."""
    return ReceiptResource(id=receipt.id, attributes=ReceiptAttributes.model_validate(receipt))
