"""/v1/rewards"""

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Reader
from api.errors import ApiError
from api.openapi import READ, errors
from api.schemas.rewards import RewardDocument, RewardId, RewardList, RewardQuery, reward_resource
from api.state import StateOf
from db import rewards

router = APIRouter(tags=["Rewards"])


@router.get("/v1/rewards", summary="List rewards", responses=errors("invalid_request", *READ))
async def list_rewards(query: Annotated[RewardQuery, Query()], caller: Reader, state: StateOf) -> RewardList:
    """List the shop's rewards, including inactive ones, but not deleted ones."""
    async with state.sessions() as session:
        rows, total = await rewards.page_of_rewards(session, caller.shop.id, query.page(), is_active=query.is_active)
    return RewardList(data=[reward_resource(row) for row in rows], meta=query.meta(total))


@router.get("/v1/rewards/{reward_id}", summary="Retrieve a reward", responses=errors("reward_not_found", *READ))
async def retrieve_reward(reward_id: RewardId, caller: Reader, state: StateOf) -> RewardDocument:
    """Retrieve a reward, even if it is inactive."""
    async with state.sessions() as session:
        row = await rewards.find_reward(session, caller.shop.id, reward_id)
    if row is None:
        raise ApiError("reward_not_found", f"Reward '{reward_id}' not found")
    return RewardDocument(data=reward_resource(row))
