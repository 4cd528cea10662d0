"""GET /v1/vip-tiers"""

from fastapi import APIRouter

from api.auth import Reader
from api.openapi import READ, errors
from api.schemas.vip_tiers import TierList, tier_resource
from api.state import StateOf
from db.rewards import tiers_with_rewards

router = APIRouter(tags=["VIP tiers"])


@router.get("/v1/vip-tiers", summary="List VIP tiers", responses=errors(*READ))
async def list_vip_tiers(caller: Reader, state: StateOf) -> TierList:
    """List all VIP tiers on one page, lowest first, each with the rewards that are restricted to it."""
    async with state.sessions() as session:
        found = await tiers_with_rewards(session, caller.shop.id)
    return TierList(data=[tier_resource(tier, rewards) for tier, rewards in found])
