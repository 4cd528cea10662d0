"""The endpoints that tell of rewards."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Reader
from api.errors import ApiError
from api.openapi import READ, errors
from api.paging import ListQuery
from api.parameters import RewardId
from api.schemas.rewards import RewardDocument, RewardList, reward_resource
from api.state import StateOf
from db import rewards

router = APIRouter(tags=["Rewards"])


class RewardQuery(ListQuery):
    """What the list of rewards can be asked for."""

    sort: Literal["created_at", "-created_at", "points_cost", "-points_cost"] = "-created_at"
    is_active: Annotated[bool | None, Field(alias="filter[is_active]")] = None


@router.get("/v1/rewards", summary="List rewards", responses=errors("invalid_request", *READ))
async def list_rewards(query: Annotated[RewardQuery, Query()], caller: Reader, state: StateOf) -> RewardList:
    """The shop's rewards, those that are switched off included. Deleted ones are not."""
    async with state.sessions() as session:
        rows, total = await rewards.page_of_rewards(session, caller.shop.id, query.page(), is_active=query.is_active)
    return RewardList(data=[reward_resource(row) for row in rows], meta=query.meta(total))


@router.get("/v1/rewards/{reward_id}", summary="Retrieve a reward", responses=errors("reward_not_found", *READ))
async def retrieve_reward(reward_id: RewardId, caller: Reader, state: StateOf) -> RewardDocument:
    """One reward, even if it is switched off."""
    async with state.sessions() as session:
        row = await rewards.find_listed_reward(session, caller.shop.id, reward_id)
    if row is None:
        raise ApiError("reward_not_found", f"Reward '{reward_id}' not found")
    return RewardDocument(data=reward_resource(row))
