"""Quotes: what a purchase would do."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.errors import refusal_error
from api.paging import ListQuery
from api.schemas.documents import Document, ListDocument, Timestamp
from db.tables import Customer, Reward
from domain.eligibility import Refusal
from services import quotes


class CustomerRewardQuery(ListQuery):
    sort: Literal["points_cost", "-points_cost", "created_at", "-created_at"] = "points_cost"


class Reason(BaseModel):
    """Why a purchase would be refused: code and detail of its error."""

    model_config = ConfigDict(from_attributes=True)

    code: Literal["customer_excluded", "vip_tier_required", "insufficient_points", "reward_sold_out"]
    detail: str = Field(examples=["Customer has 200 points but this reward costs 500"])


class QuotedLot(BaseModel):
    """Points that would be drawn from one lot."""

    id: Annotated[str, BeforeValidator(str)] = Field(examples=["17"])
    source: str = Field(examples=["order"])
    points: int = Field(examples=[500])
    earned_at: Timestamp
    expires_at: Timestamp | None


class QuoteAttributes(BaseModel):
    """What a purchase would do now. If there is any reason against it: no lots, and an unchanged balance.

    The first reason is the one that the purchase would return. Lots are in the order in which they are drawn.
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
    """A resource of type `quote`; `id` is the reward's id."""

    type: Literal["quote"] = "quote"
    id: str = Field(examples=["reward_abc"])
    attributes: QuoteAttributes


QuoteDocument = Document[Quote]


class CustomerRewardAttributes(BaseModel):
    """A reward, and whether the customer can purchase it now."""

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


CustomerRewardList = ListDocument[CustomerReward]


def quote_resource(reward: Reward, customer: Customer, quote: quotes.Quote) -> Quote:
    attributes = QuoteAttributes(
        customer_id=customer.id,
        reward_name=reward.name,
        points_cost=reward.points_cost,
        redeemable=not quote.refusals,
        reasons=_reasons(quote.refusals, reward, customer),
        balance_before=quote.balance,
        balance_after=quote.balance - sum(points for _, points in quote.draws),
        lots=[QuotedLot.model_validate({**vars(lot), "points": points}) for lot, points in quote.draws],
    )
    return Quote(id=reward.id, attributes=attributes)


def customer_reward(reward: Reward, customer: Customer, refusals: Iterable[Refusal]) -> CustomerReward:
    """A reward's row as a resource, with the reasons why this customer cannot purchase it."""
    reasons = _reasons(refusals, reward, customer)
    attributes = {**vars(reward), "redeemable": not reasons, "reasons": reasons}
    return CustomerReward(id=reward.id, attributes=CustomerRewardAttributes.model_validate(attributes))


def _reasons(refusals: Iterable[Refusal], reward: Reward, customer: Customer) -> list[Reason]:
    return [
        Reason.model_validate(refusal_error(one, reward_id=reward.id, customer_identifier=customer.id))
        for one in refusals
    ]
