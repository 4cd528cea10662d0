"""The endpoints that tell of a customer's two histories: what they earned, and what they spent it on."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Reader
from api.errors import ApiError
from api.openapi import READ, errors
from api.paging import ListQuery
from api.parameters import CustomerIdentifier, EntryId
from api.routes.customers import customer_of
from api.schemas.earning_history import EarningHistoryList, earning_history_entry
from api.schemas.receipts import ReceiptDocument, receipt_document
from api.schemas.reward_history import (
    RewardHistoryDocument,
    RewardHistoryList,
    reward_history_document,
    reward_history_entry,
)
from api.state import StateOf
from db import discount_codes, histories, receipts, redemptions
from db.tables import EARNING_STATUSES
from domain.redemptions import CAPTURED

router = APIRouter()


class EarningQuery(ListQuery):
    """What the earning history can be asked for."""

    sort: Literal["created_at", "-created_at", "points", "-points", "points_given_at", "-points_given_at"] = (
        "-created_at"
    )
    status: Annotated[Literal["pending", "approved", "rejected"] | None, Field(alias="filter[status]")] = None


class RedemptionQuery(ListQuery):
    """What the reward history can be asked for."""

    sort: Literal["created_at", "-created_at", "points_spent", "-points_spent"] = "-created_at"
    status: Annotated[Literal["active", "used", "expired"] | None, Field(alias="filter[status]")] = None


@router.get(
    "/v1/customers/{identifier}/earning-history",
    tags=["Customers"],
    summary="List a customer's earning history",
    responses=errors("invalid_request", "customer_not_found", *READ),
)
async def list_earning_history(
    identifier: CustomerIdentifier, query: Annotated[EarningQuery, Query()], caller: Reader, state: StateOf
) -> EarningHistoryList:
    """Every award and adjustment. `points` is negative where points were taken."""
    async with state.sessions() as session:
        customer = await customer_of(session, caller, identifier)
        statuses = [query.status] if query.status else EARNING_STATUSES
        found, total = await histories.page_of_earnings(session, customer, query.page(), statuses=statuses)
    return EarningHistoryList(data=[earning_history_entry(*entry) for entry in found], meta=query.meta(total))


@router.get(
    "/v1/customers/{identifier}/reward-history",
    tags=["Reward history"],
    summary="List a customer's reward history",
    responses=errors("invalid_request", "customer_not_found", *READ),
)
async def list_reward_history(
    identifier: CustomerIdentifier, query: Annotated[RedemptionQuery, Query()], caller: Reader, state: StateOf
) -> RewardHistoryList:
    """Every redemption that is `active`, `used` or `expired`; the others are seen by their ids."""
    async with state.sessions() as session:
        customer = await customer_of(session, caller, identifier)
        statuses = [query.status] if query.status else sorted(CAPTURED)
        found, total = await histories.page_of_redemptions(session, customer, query.page(), statuses=statuses)
    return RewardHistoryList(data=[reward_history_entry(*entry) for entry in found], meta=query.meta(total))


@router.get(
    "/v1/reward-history/{entry_id}",
    tags=["Reward history"],
    summary="Retrieve a reward history entry",
    responses=errors("reward_history_entry_not_found", *READ),
)
async def retrieve_reward_history_entry(entry_id: EntryId, caller: Reader, state: StateOf) -> RewardHistoryDocument:
    """One redemption in any status, `pending` and `failed` included."""
    async with state.sessions() as session:
        row = await redemptions.find_redemption(session, caller.shop.id, entry_id)
        if row is None:
            raise _unknown(entry_id)
        return reward_history_document(row, await discount_codes.code_of(session, row))


@router.get(
    "/v1/reward-history/{entry_id}/receipt",
    tags=["Reward history"],
    summary="Retrieve the receipt of a redemption",
    responses=errors("reward_history_entry_not_found", *READ),
)
async def retrieve_receipt(entry_id: EntryId, caller: Reader, state: StateOf) -> ReceiptDocument:
    """What happened to one redemption: every step with its time, the lots drawn, deliveries, points that came back.

    It is told from the ledger, so it stays complete however old the redemption is.
    """
    async with state.sessions() as session:
        receipt = await receipts.find_receipt(session, entry_id, shop_id=caller.shop.id)
    if receipt is None:
        raise _unknown(entry_id)
    return receipt_document(receipt)


def _unknown(entry_id: str) -> ApiError:
    return ApiError("reward_history_entry_not_found", f"Reward history entry '{entry_id}' not found")
