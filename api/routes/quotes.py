"""What a customer could buy: one reward to the last point, or all of them. Nothing is moved or locked."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Reader
from api.errors import ApiError, refused
from api.openapi import BODY, READ, errors
from api.paging import ListQuery
from api.parameters import CustomerIdentifier, RewardId
from api.requests import PurchaseRequest, body_schema, json_body
from api.routes.customers import customer_of
from api.schemas.documents import ListMeta, Timestamp
from api.state import StateOf
from db import eligibility, points, rewards, transactions
from db.tables import Customer, PointLot, Reward
from db.transactions import read_only_snapshot
from domain.eligibility import Refusal, refusals
from domain.points import draw_fifo

router = APIRouter()


class Reason(BaseModel):
    """Why a purchase would be refused, in the words of its error."""

    model_config = ConfigDict(from_attributes=True)

    code: Literal["customer_excluded", "vip_tier_required", "insufficient_points", "reward_sold_out"]
    detail: str = Field(examples=["Customer has 200 points but this reward costs 500"])


class QuotedLot(BaseModel):
    """Points that would be drawn from one lot."""

    id: str = Field(examples=["17"])
    source: str = Field(examples=["order"])
    points: int = Field(examples=[500])
    earned_at: Timestamp
    expires_at: Timestamp | None


class QuoteAttributes(BaseModel):
    """What a purchase would do now. With any reason against it, it would do nothing: no lots, the balance stays.

    The first reason is the one that the purchase would give; the lots come in the order in which they are drawn.
    """

    customer_id: str = Field(examples=["6789012345"])
    reward_name: str = Field(examples=["£5 off your next order"])
    points_cost: int = Field(examples=[500])
    redeemable: bool
    reasons: list[Reason] = Field(examples=[[]])
    balance_before: int = Field(examples=[700])
    balance_after: int = Field(examples=[200])
    lots: list[QuotedLot]


class Quote(BaseModel):
    """A resource of type `quote`; its id is the reward's."""

    type: Literal["quote"] = "quote"
    id: str = Field(examples=["reward_abc"])
    attributes: QuoteAttributes


class QuoteDocument(BaseModel):
    """One quote."""

    data: Quote


class CustomerRewardAttributes(BaseModel):
    """A reward as one customer sees it: whether they can buy it now, and every reason why not."""

    name: str = Field(examples=["£5 off your next order"])
    discount_type: str = Field(examples=["fixed_amount"])
    points_cost: int = Field(examples=[500])
    redeemable: bool = Field(examples=[False])
    reasons: list[Reason]


class CustomerReward(BaseModel):
    """A resource of type `reward`."""

    type: Literal["reward"] = "reward"
    id: str = Field(examples=["reward_abc"])
    attributes: CustomerRewardAttributes


class CustomerRewardList(BaseModel):
    """A page of a customer's rewards."""

    data: list[CustomerReward]
    meta: ListMeta


class CustomerRewardQuery(ListQuery):
    """What a customer's rewards can be asked for."""

    sort: Literal["points_cost", "-points_cost", "created_at", "-created_at"] = "points_cost"


@router.post(
    "/v1/rewards/{reward_id}/quote",
    tags=["Rewards"],
    summary="Quote a reward",
    responses=errors("customer_identifier_missing", *BODY, "customer_not_found", "reward_not_found", *READ),
    openapi_extra=body_schema(PurchaseRequest, {"customer_identifier": "6789012345"}),
)
async def quote_reward(
    reward_id: RewardId,
    caller: Reader,
    body: Annotated[PurchaseRequest, Depends(json_body(PurchaseRequest))],
    state: StateOf,
) -> QuoteDocument:
    """What a purchase would do now: its checks in their order, every reason against it, and the lots it would draw.

    Read-only keys may ask. An unknown customer or reward is 404, even if the purchase would find another reason first.
    """
    async with state.sessions() as session:
        # One snapshot, so that balance and lots agree.
        await read_only_snapshot(session)
        customer = await customer_of(session, caller, body.customer_identifier)
        reward = await rewards.find_reward(session, caller.shop.id, reward_id)
        if reward is None:
            raise ApiError("reward_not_found", f"Reward '{reward_id}' not found")
        return QuoteDocument(data=await _quote(session, customer, reward))


@router.get(
    "/v1/customers/{identifier}/rewards",
    tags=["Customers"],
    summary="List what a customer can redeem",
    responses=errors("invalid_request", "customer_not_found", *READ),
)
async def list_customer_rewards(
    identifier: CustomerIdentifier, query: Annotated[CustomerRewardQuery, Query()], caller: Reader, state: StateOf
) -> CustomerRewardList:
    """The rewards on offer, the cheapest first, each with whether this customer can buy it now and why not."""
    async with state.sessions() as session:
        await read_only_snapshot(session)
        customer = await customer_of(session, caller, identifier)
        member = await eligibility.member_of(session, customer, now=await transactions.now(session))
        rows, total = await rewards.page_of_rewards(session, caller.shop.id, query.page(), is_active=True)
        offers = await eligibility.offers_of(session, caller.shop.id, rows)
    pairs = zip(rows, offers, strict=True)
    found = [_for_customer(reward, _reasons(refusals(member, offer), reward, customer)) for reward, offer in pairs]
    return CustomerRewardList(data=found, meta=query.meta(total))


async def _quote(session: AsyncSession, customer: Customer, reward: Reward) -> Quote:
    now = await transactions.now(session)
    member = await eligibility.member_of(session, customer, now=now)
    [offer] = await eligibility.offers_of(session, reward.shop_id, [reward])
    reasons = _reasons(refusals(member, offer), reward, customer)
    lots = [] if reasons else await _draw(session, customer, reward, now)
    attributes = QuoteAttributes(
        customer_id=customer.id,
        reward_name=reward.name,
        points_cost=reward.points_cost,
        redeemable=not reasons,
        reasons=reasons,
        balance_before=member.points,
        balance_after=member.points - sum(lot.points for lot in lots),
        lots=lots,
    )
    return Quote(id=reward.id, attributes=attributes)


def _reasons(found: Iterable[Refusal], reward: Reward, customer: Customer) -> list[Reason]:
    return [
        Reason.model_validate(refused(refusal, reward_id=reward.id, customer_identifier=customer.id))
        for refusal in found
    ]


async def _draw(session: AsyncSession, customer: Customer, reward: Reward, now: datetime) -> list[QuotedLot]:
    lots = await points.spendable_lots(session, customer.shop_id, customer.id, now=now)
    by_id = {lot.id: lot for lot in lots}
    draws = draw_fifo(points.as_domain(lots), reward.points_cost, now=now)
    return [_quoted(by_id[draw.lot_id], draw.points) for draw in draws]


def _quoted(lot: PointLot, drawn: int) -> QuotedLot:
    return QuotedLot(
        id=str(lot.id), source=lot.source, points=drawn, earned_at=lot.earned_at, expires_at=lot.expires_at
    )


def _for_customer(reward: Reward, reasons: list[Reason]) -> CustomerReward:
    attributes = CustomerRewardAttributes(
        name=reward.name,
        discount_type=reward.discount_type,
        points_cost=reward.points_cost,
        redeemable=not reasons,
        reasons=reasons,
    )
    return CustomerReward(id=reward.id, attributes=attributes)
