"""/v1/reward-history, /v1/reward-history/{id} and /v1/customers/{identifier}/reward-history"""

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Reader
from api.errors import ApiError
from api.openapi import READ, errors
from api.routes.customers import find_customer
from api.schemas.customers import CustomerIdentifier
from api.schemas.documents import Links
from api.schemas.reward_history import (
    EntryId,
    RewardHistoryDocument,
    RewardHistoryList,
    RewardHistoryPage,
    RewardHistoryQuery,
    ShopHistoryQuery,
    reward_history_entry,
)
from api.state import StateOf
from db import customers, discount_codes, histories, redemptions
from db.reward_history import HistoryFilter, committed_before, page_of_history

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


@router.get("/v1/reward-history", summary="List the shop's reward history", responses=errors("invalid_request", *READ))
async def list_shop_history(
    query: Annotated[ShopHistoryQuery, Query()], caller: Reader, state: StateOf
) -> RewardHistoryPage:
    """List the redemptions of all customers, in every status, the newest first. Follow `links.next` to read all.

    Entries that are created meanwhile neither repeat nor hide others. `sort=created_at` begins with the oldest, for
    another system that keeps in step: it ends before the oldest entry that is still being written, so that none appears
    before the end later. After the last page, read on with the last entry's `created_at` as `filter[created_after]`.
    """
    is_descending, created_before = query.sort == "-created_at", query.created_before
    if not is_descending:
        async with state.sessions() as session:
            limit = await committed_before(session)
        created_before = min(created_before or limit, limit)
    async with state.sessions.snapshot() as session:
        customer_id = None
        if query.customer is not None:
            customer = await customers.find_customer(session, caller.shop.id, query.customer)
            if customer is None:
                return RewardHistoryPage(data=[], links=Links(next=None))
            customer_id = customer.id
        rows, following = await page_of_history(
            session,
            caller.shop.id,
            HistoryFilter(
                status=query.status,
                reward_id=query.reward_id,
                customer_id=customer_id,
                created_from=query.created_from,
                created_before=created_before,
            ),
            after=query.position,
            size=query.size,
            descending=is_descending,
        )
    return RewardHistoryPage(
        data=[reward_history_entry(*row) for row in rows], links=Links(next=query.link_to(following))
    )


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
