"""/v1/customers/{identifier}/reward-history and /v1/reward-history/{id}"""

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Reader
from api.errors import ApiError
from api.openapi import READ, errors
from api.routes.customers import find_customer
from api.schemas.customers import CustomerIdentifier
from api.schemas.reward_history import (
    EntryId,
    RewardHistoryDocument,
    RewardHistoryList,
    RewardHistoryQuery,
    reward_history_entry,
)
from api.state import StateOf
from db import discount_codes, histories, redemptions

router = APIRouter(tags=["Reward history"])


@router.get(
    "/v1/customers/{identifier}/reward-history",
    summary="List a customer's reward history",
    responses=errors("invalid_request", "customer_not_found", *READ),
)
async def list_reward_history(
    identifier: CustomerIdentifier, query: Annotated[RewardHistoryQuery, Query()], caller: Reader, state: StateOf
) -> RewardHistoryList:
    """List the redemptions that are `active`, `used` or `expired`. Others can be retrieved by id."""
    async with state.sessions() as session:
        customer = await find_customer(session, caller, identifier)
        rows, total = await histories.page_of_redemptions(session, customer, query.page(), status=query.status)
    return RewardHistoryList(data=[reward_history_entry(*row) for row in rows], meta=query.meta(total))


@router.get(
    "/v1/reward-history/{entry_id}",
    summary="Retrieve a reward history entry",
    responses=errors("reward_history_entry_not_found", *READ),
)
async def retrieve_reward_history_entry(entry_id: EntryId, caller: Reader, state: StateOf) -> RewardHistoryDocument:
    """Retrieve a redemption in any status, including `pending` and `failed`."""
    async with state.sessions() as session:
        row = await redemptions.find_redemption(session, caller.shop.id, entry_id)
        if row is None:
            raise ApiError("reward_history_entry_not_found", f"Reward history entry '{entry_id}' not found")
        code = await discount_codes.customer_code(session, row)
    return RewardHistoryDocument(data=reward_history_entry(row, code))
