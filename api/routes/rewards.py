"""/v1/rewards"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api import idempotency
from api.auth import Admin, Reader
from api.bodies import json_body
from api.errors import ApiError
from api.openapi import ADMIN, BODY, READ, body_schema, errors
from api.schemas.rewards import (
    NewReward,
    RewardChanges,
    RewardDocument,
    RewardId,
    RewardList,
    RewardQuery,
    reward_resource,
)
from api.state import StateOf
from db import rewards
from db.idempotency import DecidedAnswer, request_fingerprint
from db.tables import Reward
from services.idempotency import answer_once
from services.rewards import change_reward, create_reward, delete_reward

router = APIRouter(tags=["Rewards"])

_EXAMPLE = {"name": "£5 off", "discount_type": "fixed_amount", "discount_amount": "5.00", "points_cost": 500}


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


@router.post(
    "/v1/rewards",
    status_code=201,
    summary="Create a reward",
    response_model=RewardDocument,
    responses=errors(*BODY, *ADMIN, "reward_exists", "idempotency_key_reused"),
    openapi_extra=body_schema(NewReward, _EXAMPLE),
)
async def add_reward(
    key: idempotency.Key, caller: Admin, body: Annotated[NewReward, Depends(json_body(NewReward))], state: StateOf
) -> Response:
    """Create a reward, which can be purchased at once unless `is_active` is false. Needs a key of scope `admin`."""

    async def work(session: AsyncSession) -> tuple[DecidedAnswer, None]:
        row = await create_reward(session, caller.shop.id, body, reward_id=body.id, actor=caller.name)
        return _answer(201, row), None

    fingerprint = request_fingerprint("reward", body.model_dump_json(exclude_unset=True))
    return idempotency.response(
        key, await answer_once(state.sessions, caller.shop, work, key=key, fingerprint=fingerprint)
    )


@router.put(
    "/v1/rewards/{reward_id}",
    summary="Update a reward",
    response_model=RewardDocument,
    responses=errors(*BODY, *ADMIN, "reward_not_found", "idempotency_key_reused"),
    openapi_extra=body_schema(RewardChanges, {"points_cost": 400}),
)
async def update_reward(
    reward_id: RewardId,
    key: idempotency.Key,
    caller: Admin,
    body: Annotated[RewardChanges, Depends(json_body(RewardChanges))],
    state: StateOf,
) -> Response:
    """Change the fields in the body; the others stay as they are. Needs a key of scope `admin`.

    `is_active: false` pauses the reward: it cannot be purchased until it is active again. Redemptions keep the terms
    that they were bought on.
    """

    async def work(session: AsyncSession) -> tuple[DecidedAnswer, None]:
        return _answer(200, await change_reward(session, caller.shop.id, reward_id, body, actor=caller.name)), None

    fingerprint = request_fingerprint("reward", reward_id, body.model_dump_json(exclude_unset=True))
    return idempotency.response(
        key, await answer_once(state.sessions, caller.shop, work, key=key, fingerprint=fingerprint)
    )


@router.delete(
    "/v1/rewards/{reward_id}",
    status_code=204,
    summary="Delete a reward",
    responses=errors("invalid_request", *ADMIN, "reward_not_found", "idempotency_key_reused"),
)
async def remove_reward(reward_id: RewardId, key: idempotency.Key, caller: Admin, state: StateOf) -> Response:
    """Delete a reward: new purchases get 404. Its redemptions, codes and history stay. Needs a key of scope `admin`."""

    async def work(session: AsyncSession) -> tuple[DecidedAnswer, None]:
        await delete_reward(session, caller.shop.id, reward_id, actor=caller.name)
        return DecidedAnswer(status=204, body=""), None

    fingerprint = request_fingerprint("reward deletion", reward_id)
    return idempotency.response(
        key, await answer_once(state.sessions, caller.shop, work, key=key, fingerprint=fingerprint)
    )


def _answer(status: int, row: Reward) -> DecidedAnswer:
    return DecidedAnswer(status=status, body=RewardDocument(data=reward_resource(row)).model_dump_json())
