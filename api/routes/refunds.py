"""POST /v1/reward-history/{id}/refund"""

from typing import Annotated

from fastapi import APIRouter, Depends

from api.auth import Writer
from api.errors import ApiError
from api.openapi import BODY, WRITE, errors
from api.parameters import EntryId
from api.requests import RefundRequest, body_schema, json_body
from api.schemas.reward_history import RefundDocument, RefundMeta, reward_history_entry
from api.state import StateOf
from domain.refunds import RefundRefusal
from services.refunds import RefundPending

router = APIRouter(tags=["Reward history"])


@router.post(
    "/v1/reward-history/{entry_id}/refund",
    summary="Refund a reward history entry",
    responses=errors(
        *BODY,
        *WRITE,
        "reward_history_entry_not_found",
        "reward_already_used",
        "reward_not_redeemed",
        "shopify_unavailable",
    ),
    openapi_extra=body_schema(RefundRequest, {"reason": "The order was cancelled"}, required=False),
)
async def refund_reward_history_entry(
    entry_id: EntryId,
    caller: Writer,
    body: Annotated[RefundRequest, Depends(json_body(RefundRequest, empty=b"{}"))],
    state: StateOf,
) -> RefundDocument:
    """Take the discount code back at Shopify, then give the points back to where they came from.

    A code that was used is refused: 422 `reward_already_used`, and so is an entry that is `pending` or `failed`:
    422 `reward_not_redeemed`. A second call changes nothing and answers the same. A 503 says that the refund has
    begun and goes on by itself until it is done: send the request again to hear of its end.
    """
    try:
        refunded = await state.refunding.refund(caller.shop, entry_id, actor=caller.name, reason=body.reason)
    except RefundPending as pending:
        raise _pending(pending) from None
    if isinstance(refunded, RefundRefusal):
        raise _refused(refunded, entry_id)
    entry = reward_history_entry(refunded.redemption, refunded.code)
    return RefundDocument(data=entry, meta=RefundMeta(code_removed=refunded.code_removed))


def _refused(refusal: RefundRefusal, entry_id: str) -> ApiError:
    details = {
        RefundRefusal.NOT_FOUND: f"Reward history entry '{entry_id}' not found",
        RefundRefusal.NOT_REDEEMED: "This entry is pending or failed: it holds no points that could be refunded",
        RefundRefusal.ALREADY_USED: "The discount code of this entry has been used",
    }
    return ApiError(refusal, details[refusal])


def _pending(pending: RefundPending) -> ApiError:
    code = "shopify_unavailable" if pending.for_shopify else "engine_unavailable"
    what = "Unable to connect to Shopify to remove the discount code" if pending.for_shopify else "It takes longer"
    return ApiError(code, f"{what}; the refund goes on by itself, send the request again to hear of its end")
