"""POST /v1/reward-history/{id}/refund"""

from typing import Annotated

from fastapi import APIRouter, Depends

from api.auth import Writer
from api.bodies import json_body
from api.errors import ApiError
from api.openapi import BODY, WRITE, body_schema, errors
from api.schemas.refunds import RefundDocument, RefundMeta, RefundRequest
from api.schemas.reward_history import EntryId, reward_history_entry
from api.state import StateOf
from domain.refunds import RefundRefusal
from services.refunds import RefundPending

router = APIRouter(tags=["Reward history"])


@router.post(
    "/v1/reward-history/{entry_id}/refund",
    summary="Refund a reward history entry",
    responses=errors(*BODY, *WRITE, *RefundRefusal, "shopify_unavailable"),
    openapi_extra=body_schema(RefundRequest, {"reason": "The order was cancelled"}, required=False),
)
async def refund_reward_history_entry(
    entry_id: EntryId,
    caller: Writer,
    body: Annotated[RefundRequest, Depends(json_body(RefundRequest, empty=b"{}"))],
    state: StateOf,
) -> RefundDocument:
    """Remove the discount code at Shopify, then return the points to the lots that they were drawn from.

    If the code was used: 422 `reward_already_used`. If the entry is `pending` or `failed`: 422 `reward_not_redeemed`.
    A repeated request changes nothing and returns the same response. After a 503 the refund is in progress: repeat the
    request to get the result.
    """
    try:
        refunded = await state.refunds.refund(caller.shop, entry_id, actor=caller.name, reason=body.reason)
    except RefundPending as pending:
        raise _pending(pending) from None
    if isinstance(refunded, RefundRefusal):
        is_unknown = refunded is RefundRefusal.NOT_FOUND
        raise ApiError(refunded, f"Reward history entry '{entry_id}' not found" if is_unknown else "")
    entry = reward_history_entry(refunded.redemption, refunded.code)
    return RefundDocument(data=entry, meta=RefundMeta(code_removed=refunded.code_removed))


def _pending(pending: RefundPending) -> ApiError:
    detail = "Refund in progress. Repeat the request to get the result."
    if not pending.for_shopify:
        return ApiError("engine_unavailable", detail)
    return ApiError("shopify_unavailable", f"Unable to connect to Shopify to remove the discount code. {detail}")
