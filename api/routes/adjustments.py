"""POST /v1/customers/{identifier}/points"""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api import idempotency
from api.auth import Writer
from api.bodies import json_body
from api.errors import refusal_error
from api.openapi import BODY, WRITE, body_schema, errors
from api.schemas.adjustments import AdjustmentDocument, AdjustmentRequest, adjustment_resource
from api.schemas.customers import CustomerIdentifier
from api.state import StateOf
from db.adjustments import Adjusted, Adjustment
from db.idempotency import DecidedAnswer, request_fingerprint
from db.tables import Customer
from domain.ids import new_earning_id
from services.adjustments import AdjustmentRefused, adjust

router = APIRouter(tags=["Customers"])


@router.post(
    "/v1/customers/{identifier}/points",
    summary="Adjust a customer's points",
    response_model=AdjustmentDocument,
    responses=errors(*BODY, *WRITE, "customer_excluded", "customer_not_found", "idempotency_key_reused"),
    openapi_extra=body_schema(AdjustmentRequest, {"adjustment": 500, "note": "Goodwill gesture after delayed order"}),
)
async def adjust_points(
    identifier: CustomerIdentifier,
    key: idempotency.Key,
    caller: Writer,
    body: Annotated[AdjustmentRequest, Depends(json_body(AdjustmentRequest))],
    state: StateOf,
) -> Response:
    """Add points, which do not expire, or deduct points, the oldest first.

    A deduction stops at a balance of zero; `adjustment` in the response is what was applied. Lifetime points and the
    VIP tier change too, unless `update_lifetime_points` is false. A repeated `Idempotency-Key` adjusts nothing and
    returns the first response. For a customer who was merged into another, the other's points change.
    `send_email` is ignored: Pointsaga sends no email.
    """

    def render(customer: Customer, adjusted: Adjusted) -> DecidedAnswer:
        document = AdjustmentDocument(data=adjustment_resource(customer, adjusted, body.note))
        return DecidedAnswer(status=200, body=document.model_dump_json())

    adjustment = Adjustment(
        id=new_earning_id(),
        points=body.adjustment,
        moves_lifetime=body.update_lifetime_points,
        note=body.note,
        actor=caller.name,
    )
    fingerprint = request_fingerprint("points", identifier, body.model_dump_json())
    try:
        reply = await adjust(
            state.sessions, caller.shop, identifier, adjustment, key=key, fingerprint=fingerprint, render=render
        )
        return idempotency.response(key, reply)
    except AdjustmentRefused as error:
        raise refusal_error(error.refusal, customer_identifier=identifier) from None
