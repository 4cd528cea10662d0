"""/v1/rewards/{id}/quote and /v1/customers/{identifier}/rewards"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.auth import Reader
from api.bodies import json_body
from api.errors import ApiError, refusal_error
from api.openapi import BODY, READ, body_schema, errors
from api.routes.customers import find_member
from api.schemas.customers import CustomerIdentifier
from api.schemas.purchases import PurchaseRequest
from api.schemas.quotes import CustomerRewardList, CustomerRewardQuery, QuoteDocument, customer_reward, quote_resource
from api.schemas.rewards import RewardId
from api.state import StateOf
from db import rewards
from db.rewards import ladder_of
from domain.eligibility import NOT_ON_THE_LADDER, RefusalCode, spending_error
from domain.ladder import Ladder
from services.quotes import quote, refusals_of

router = APIRouter()


@router.post(
    "/v1/rewards/{reward_id}/quote",
    tags=["Rewards"],
    summary="Quote a reward",
    responses=errors(
        "customer_identifier_missing",
        *(RefusalCode.POINTS_TO_SPEND_NOT_ALLOWED, *NOT_ON_THE_LADDER),
        *BODY,
        "customer_not_found",
        "reward_not_found",
        *READ,
    ),
    openapi_extra=body_schema(PurchaseRequest, {"customer_identifier": "6789012345"}),
)
async def quote_reward(
    reward_id: RewardId,
    caller: Reader,
    body: Annotated[PurchaseRequest, Depends(json_body(PurchaseRequest))],
    state: StateOf,
) -> QuoteDocument:
    """Return what a purchase would do now: every reason to refuse it, or the lots that it would draw. Nothing changes.

    A read-only key is enough. An unknown customer or reward is 404, even if the purchase would report another reason.

    For a reward with variable pricing, the ladder of possible `points_to_spend` is returned too. Without
    `points_to_spend` the reasons are those against the ladder's first step, and no lots are quoted.
    """
    async with state.sessions.snapshot() as session:
        customer = await find_member(session, caller, body.customer_identifier)
        reward = await rewards.find_active_reward(session, caller.shop.id, reward_id)
        if reward is None:
            raise ApiError("reward_not_found", f"Reward '{reward_id}' not found")
        _check_spending(body, ladder_of(reward))
        quoted = await quote(session, customer, reward, body.points_to_spend)
    for refusal in quoted.refusals:
        if refusal.code in NOT_ON_THE_LADDER:
            raise refusal_error(refusal, customer_identifier=customer.id)
    return QuoteDocument(data=quote_resource(reward, customer, quoted))


def _check_spending(body: PurchaseRequest, ladder: Ladder | None) -> None:
    code = spending_error(ladder, body.points_to_spend)
    if code is RefusalCode.POINTS_TO_SPEND_NOT_ALLOWED:
        raise ApiError(code)


@router.get(
    "/v1/customers/{identifier}/rewards",
    tags=["Customers"],
    summary="List what a customer can redeem",
    responses=errors("invalid_request", "customer_not_found", *READ),
)
async def list_customer_rewards(
    identifier: CustomerIdentifier, query: Annotated[CustomerRewardQuery, Query()], caller: Reader, state: StateOf
) -> CustomerRewardList:
    """List the active rewards, cheapest first, each with every reason why the customer cannot purchase it now."""
    async with state.sessions.snapshot() as session:
        customer = await find_member(session, caller, identifier)
        rows, total = await rewards.page_of_rewards(
            session, caller.shop.id, query.page(), is_active=True, on_offer=True
        )
        refusals = await refusals_of(session, customer, rows)
    data = [customer_reward(row, customer, reasons) for row, reasons in zip(rows, refusals, strict=True)]
    return CustomerRewardList(data=data, meta=query.meta(total))
