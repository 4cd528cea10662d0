"""POST /v1/rewards/{id}/purchase"""

import math
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response

import metrics
from api import idempotency
from api.auth import Writer
from api.bodies import json_body
from api.errors import KINDS, RETRY_AFTER_SECONDS, ApiError, refusal_error
from api.openapi import BODY, QUEUED_HEADERS, WRITE, body_schema, errors
from api.schemas.purchases import PurchaseRequest
from api.schemas.reward_history import (
    QueuedPurchaseDocument,
    QueuedPurchaseEntry,
    QueueMeta,
    RewardHistoryDocument,
    reward_history_entry,
)
from api.schemas.rewards import RewardId
from api.state import RequestId, StateOf
from db.claims import WrongSpending
from db.idempotency import DecidedAnswer
from domain.eligibility import Refusal, RefusalCode
from domain.failures import FailureCode
from domain.redemptions import REJECTION_KEPT
from services.purchases import Purchase, Purchased, PurchaseRejected, PurchaseUnavailable, Queued

router = APIRouter(tags=["Rewards"])

RESPOND_ASYNC = "respond-async"


async def _prefers_queue(
    request: Request,
    _prefer: Annotated[
        str | None,
        Header(
            alias="Prefer",
            description="`respond-async`: answer once the points are reserved. Others are ignored. Source: RFC 7240.",
            examples=[RESPOND_ASYNC],
        ),
    ] = None,
) -> bool:
    preferences = ",".join(request.headers.getlist("Prefer")).split(",")
    return any(one.partition(";")[0].strip().lower() == RESPOND_ASYNC for one in preferences)


PrefersQueue = Annotated[bool, Depends(_prefers_queue)]
"""Whether the client prefers an answer without the code."""


@router.post(
    "/v1/rewards/{reward_id}/purchase",
    summary="Purchase a reward",
    status_code=201,
    response_model=RewardHistoryDocument,
    responses={
        202: {"model": QueuedPurchaseDocument, "description": "Queued", "headers": QUEUED_HEADERS},
        **errors(
            "customer_identifier_missing",
            *BODY,
            *WRITE,
            *RefusalCode,
            "idempotency_key_reused",
            "shopify_unavailable",
            "shopify_rejected",
        ),
    },
    openapi_extra=body_schema(PurchaseRequest, {"customer_identifier": "6789012345"}),
)
async def purchase_reward(
    reward_id: RewardId,
    key: idempotency.Key,
    key_is_made: idempotency.KeyIsMade,
    is_queued: PrefersQueue,
    caller: Writer,
    body: Annotated[PurchaseRequest, Depends(json_body(PurchaseRequest))],
    state: StateOf,
    request_id: RequestId,
    request: Request,
) -> Response:
    """Spend a customer's points on a reward. The response has the discount code.

    For a reward with variable pricing, `points_to_spend` is one of the numbers that a quote returns as its ladder. The
    code is worth `points_to_spend / points_step * value_per_step`.

    The oldest points are spent first. If no discount code can be generated, the points are released and the status is
    503: the request can be repeated with the same `Idempotency-Key`. A success or a refusal is final for its key.

    If Shopify rejects the discount itself, because it does not know the customer or the product, the code is
    `shopify_rejected`. A repetition fails too, and gets this answer at once for some minutes, whatever its key.

    With `Prefer: respond-async` the answer is 202 once the points are reserved. Codes are created in the order of
    arrival, as fast as Shopify grants the shop. `GET /v1/reward-history/{id}` has the outcome: `active` with the code,
    or `failed` with the points back. The key gets 202 until then, and the outcome, 201 or 503, from then on.
    """
    customer = body.customer_identifier

    def render(outcome: Purchased | Refusal | FailureCode) -> DecidedAnswer:
        if isinstance(outcome, Refusal):
            error = refusal_error(outcome, customer_identifier=customer, reward_id=reward_id)
            return DecidedAnswer(status=error.kind.status, body=error.body())
        if isinstance(outcome, FailureCode):
            error = _failed(outcome)
            return DecidedAnswer(status=error.kind.status, body=error.body())
        request.state.shopify_time = outcome.shopify_time
        document = RewardHistoryDocument(data=reward_history_entry(outcome.redemption, outcome.code))
        return DecidedAnswer(status=201, body=document.model_dump_json())

    purchase = Purchase(
        shop=caller.shop,
        key=key,
        key_is_made=key_is_made,
        reward_id=reward_id,
        customer_identifier=customer,
        actor=caller.name,
        render=render,
        request_id=request_id,
        points_to_spend=body.points_to_spend,
        is_queued=is_queued,
    )
    try:
        with metrics.PURCHASES_OPEN.track_inprogress():
            reply = await state.purchases.purchase(purchase)
        if isinstance(reply, Queued):
            return _queued(key, reply)
        request.state.replayed = reply.replayed
        return idempotency.response(key, reply)
    except WrongSpending as error:
        raise ApiError(error.code) from None
    except PurchaseRejected:
        retry_after = int(REJECTION_KEPT.total_seconds())
        raise ApiError("shopify_rejected", retry_after=retry_after) from None
    except PurchaseUnavailable as error:
        raise _unavailable(error) from None


# By cause, and whether it is known when the purchase can succeed.
_UNAVAILABLE = {
    (True, True): "The shop has reached its rate limit at Shopify. No points were taken.",
    (True, False): KINDS["shopify_unavailable"].detail,
    (False, True): "Too many purchases are in progress. Repeat the request later.",
    (False, False): "The purchase was not completed in time. Reserved points are released.",
}


def _queued(key: str, queued: Queued) -> Response:
    entry = QueuedPurchaseEntry.model_validate(reward_history_entry(queued.redemption, None))
    document = QueuedPurchaseDocument(data=entry, meta=QueueMeta(queue_position=queued.position))
    headers = {
        **idempotency.headers(key),
        "Location": f"/v1/reward-history/{queued.redemption.id}",
        "Preference-Applied": RESPOND_ASYNC,
        "Retry-After": str(max(1, math.ceil(queued.wait.total_seconds()))),
    }
    return Response(document.model_dump_json(), HTTPStatus.ACCEPTED, headers, media_type="application/json")


_FAILED_QUEUED = {
    FailureCode.REQUEST_REJECTED: "shopify_rejected",
    FailureCode.CONFIGURATION_REJECTED: "shopify_unavailable",
    FailureCode.SHOPIFY_UNAVAILABLE: "shopify_unavailable",
}


def _failed(code: FailureCode) -> ApiError:
    """The answer of a queued purchase that failed. It is final for its key."""
    error = ApiError(_FAILED_QUEUED.get(code, "engine_unavailable"), "The purchase failed. The points are released.")
    if error.kind.retry == "same_key":
        error.kind = replace(error.kind, retry="new_key")
    return error


def _unavailable(error: PurchaseUnavailable) -> ApiError:
    retry_after = RETRY_AFTER_SECONDS if error.retry_after is None else math.ceil(error.retry_after.total_seconds())
    code = "shopify_unavailable" if error.for_shopify else "engine_unavailable"
    return ApiError(code, _UNAVAILABLE[error.for_shopify, error.retry_after is not None], retry_after=retry_after)
