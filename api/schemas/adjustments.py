"""Points adjustments."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from api.schemas.documents import Document, Request
from db.adjustments import Adjusted
from db.tables import Customer
from domain.points import MAX_POINTS


def _integral(value: object) -> object:
    # JSON has one number type, so 500.0 is an integer too.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _not_zero(points: int) -> int:
    if points == 0:
        raise ValueError("must not be zero")
    return points


_EXAMPLE: JsonDict = {
    "shopify_customer_id": "6789012345",
    "adjustment": 500,
    "points_before": 200,
    "points_after": 700,
    "current_points": 700,
    "note": "Goodwill gesture after delayed order",
}


class AdjustmentRequest(Request):
    """Points to add, or to deduct if negative. `send_email` is accepted for compatibility; no email is sent."""

    adjustment: Annotated[
        int,
        Field(ge=-MAX_POINTS, le=MAX_POINTS, json_schema_extra={"not": {"const": 0}}),
        BeforeValidator(_integral),
        AfterValidator(_not_zero),
    ]
    note: Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")] | None = None
    update_lifetime_points: bool = True
    send_email: bool = True


class AdjustmentAttributes(BaseModel):
    """The result. `adjustment` is what was applied: a deduction stops at a balance of zero."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    shopify_customer_id: str
    adjustment: int
    points_before: int
    points_after: int
    current_points: int
    note: str | None


class AdjustmentResource(BaseModel):
    """A resource of type `points_adjustment`; `id` is the Shopify customer id."""

    type: Literal["points_adjustment"] = "points_adjustment"
    id: str = Field(examples=["6789012345"])
    attributes: AdjustmentAttributes


AdjustmentDocument = Document[AdjustmentResource]


def adjustment_resource(customer: Customer, adjusted: Adjusted, note: str | None) -> AdjustmentResource:
    attributes = AdjustmentAttributes(
        shopify_customer_id=customer.id,
        adjustment=adjusted.points,
        points_before=adjusted.before,
        points_after=adjusted.after,
        current_points=adjusted.after,
        note=note,
    )
    return AdjustmentResource(id=customer.id, attributes=attributes)
