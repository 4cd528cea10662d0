"""POST /v1/rewards/{id}/purchase"""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.auth import Writer
from api.openapi import BODY, WRITE, errors
from api.parameters import RewardId
from api.requests import PurchaseRequest, body_schema, idempotency_key, json_body
from api.schemas.reward_history import RewardHistoryDocument
from api.state import StateOf
from services.purchases import Intention

router = APIRouter(tags=["Rewards"])


@router.post(
    "/v1/rewards/{reward_id}/purchase",
    summary="Purchase a reward",
    status_code=201,
    response_model=RewardHistoryDocument,
    responses=errors(
        "customer_identifier_missing",
        *BODY,
        *WRITE,
        "customer_excluded",
        "vip_tier_required",
        "customer_not_found",
        "reward_not_found",
        "insufficient_points",
        "reward_sold_out",
        "idempotency_key_reused",
        "shopify_unavailable",
    ),
    openapi_extra=body_schema(PurchaseRequest, {"customer_identifier": "6789012345"}),
)
async def purchase_reward(
    reward_id: RewardId,
    key: Annotated[str, Depends(idempotency_key)],
    caller: Writer,
    body: Annotated[PurchaseRequest, Depends(json_body(PurchaseRequest))],
    state: StateOf,
) -> Response:
    """Spend a customer's points on a reward and answer with its discount code.

    The points are taken oldest first. If no code can be made the points are given back, and the answer is 503: the
    same key may then be sent again. Every other answer is final for its key.
    """
    reply = await state.purchasing.purchase(
        Intention(shop=caller.shop, key=key, reward_id=reward_id, customer_identifier=body.customer_identifier)
    )
    headers = {"Idempotency-Key": key} | ({"Idempotency-Replayed": "true"} if reply.replayed else {})
    return Response(reply.decision.body, reply.decision.status, headers, media_type="application/json")
