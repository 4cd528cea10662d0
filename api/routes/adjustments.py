"""POST /v1/customers/{identifier}/points"""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Caller, Writer
from api.errors import ApiError
from api.openapi import BODY, WRITE, errors
from api.parameters import CustomerIdentifier
from api.requests import AdjustmentRequest, body_schema, idempotency_key, json_body
from api.routes.customers import customer_of
from api.schemas.adjustments import AdjustmentAttributes, AdjustmentDocument, AdjustmentResource
from api.state import StateOf
from db import idempotency
from db.adjustments import Adjustment, adjust
from db.histories import new_earning_id
from db.tables import IdempotencyKey

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
    key: Annotated[str, Depends(idempotency_key)],
    caller: Writer,
    body: Annotated[AdjustmentRequest, Depends(json_body(AdjustmentRequest))],
    state: StateOf,
) -> Response:
    """Give a customer points, which do not expire, or take some, oldest first and never below zero.

    `adjustment` in the answer is what really moved. Unless `update_lifetime_points` is false, the lifetime points move
    with it, and the VIP tier follows them. The same key sent again adjusts nothing and answers the same. `send_email`
    is accepted, and nothing is sent: Pointsaga writes no e-mails.
    """
    mark = idempotency.fingerprint("points", identifier, body.model_dump_json())
    async with state.sessions.begin() as session:
        claim, is_new = await idempotency.claim(session, caller.shop.id, key, mark, new_earning_id())
        if claim.fingerprint != mark:
            raise ApiError("idempotency_key_reused", "This Idempotency-Key stands for another request; use a new key")
        if is_new:
            # Whatever refuses takes the key back too: it may be sent again.
            claim.status, claim.body = 200, await _adjust(session, caller, identifier, body, claim)
    headers = {"Idempotency-Key": key} | ({} if is_new else {"Idempotency-Replayed": "true"})
    return Response(claim.body, headers=headers, media_type="application/json")


async def _adjust(
    session: AsyncSession, caller: Caller, identifier: str, body: AdjustmentRequest, claim: IdempotencyKey
) -> str:
    customer = await customer_of(session, caller, identifier, locked=True)
    claim.customer_id = customer.id
    if customer.excluded:
        raise ApiError("customer_excluded", "Customer is excluded from the loyalty program")
    asked = Adjustment(
        id=claim.redemption_id,
        points=body.adjustment,
        moves_lifetime=body.update_lifetime_points,
        note=body.note,
    )
    done = await adjust(session, customer, asked)
    attributes = AdjustmentAttributes(
        shopify_customer_id=customer.id,
        adjustment=done.points,
        points_before=done.before,
        points_after=done.after,
        current_points=done.after,
        note=body.note,
    )
    return AdjustmentDocument(data=AdjustmentResource(id=customer.id, attributes=attributes)).model_dump_json()
