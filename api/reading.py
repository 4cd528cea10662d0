"""The endpoints that read: one reward history entry, one customer."""

from fastapi import APIRouter

from api.auth import Reader
from api.errors import ApiError
from api.openapi import errors
from api.resources import CustomerDocument, RewardHistoryDocument, customer_document, reward_history_document
from api.state import StateOf
from db import catalogue, points, redemptions
from db.tables import VipTier

router = APIRouter()


@router.get(
    "/v1/reward-history/{entry_id}",
    tags=["Reward history"],
    summary="Retrieve a reward history entry",
    responses=errors(401, 404, 500, 503),
)
async def reward_history_entry(entry_id: str, caller: Reader, state: StateOf) -> RewardHistoryDocument:
    """One redemption in any status, `pending` and `failed` included."""
    async with state.sessions() as session:
        row = await redemptions.find_redemption(session, caller.shop.id, entry_id)
        if row is None:
            raise ApiError("reward_history_entry_not_found", f"Reward history entry '{entry_id}' not found")
        return reward_history_document(row, await redemptions.code_of(session, row))


@router.get(
    "/v1/customers/{identifier}",
    tags=["Customers"],
    summary="Retrieve a customer",
    responses=errors(400, 401, 404, 500, 503),
)
async def customer(identifier: str, caller: Reader, state: StateOf, *, exclude_vip: bool = False) -> CustomerDocument:
    """One customer, by Shopify id or e-mail address, with the points they have, ever earned and have spent."""
    async with state.sessions() as session:
        row = await catalogue.find_customer(session, caller.shop.id, identifier)
        if row is None:
            raise ApiError("customer_not_found", f"Customer '{identifier}' not found")
        now = await catalogue.now(session)
        lifetime, redeemed = await points.totals(session, row.shop_id, row.id)
        tier = (
            None
            if exclude_vip or row.vip_tier_id is None
            else await session.get(VipTier, (row.shop_id, row.vip_tier_id))
        )
        return customer_document(
            row,
            tier,
            balance=await points.balance(session, row.shop_id, row.id, now=now),
            lifetime=lifetime,
            redeemed=redeemed,
            expires_at=await points.next_expiry(session, row.shop_id, row.id, now=now),
        )
