"""Quotes: what a purchase would do."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.errors import refusal_error
from api.paging import ListQuery
from api.schemas.documents import Absent, Document, ListDocument, Number, Timestamp
from db.tables import Customer, Reward
from domain.eligibility import Refusal
from services import quotes


class CustomerRewardQuery(ListQuery):
    sort: Literal["points_cost", "-points_cost", "created_at", "-created_at"] = "points_cost"


class Reason(BaseModel):
    """Why a purchase would be refused: code and detail of its error."""

    model_config = ConfigDict(from_attributes=True)

    code: Literal[
        "customer_excluded", "vip_tier_required", "insufficient_points", "reward_sold_out", "reward_limit_reached"
    ]
    detail: str = Field(examples=["Customer has 200 points but this reward costs 500"])


class QuotedLot(BaseModel):
    """Points that would be drawn from one lot."""

    id: Annotated[str, BeforeValidator(str)] = Field(examples=["17"])
    source: str = Field(examples=["order"])
    points: int = Field(examples=[500])
    earned_at: Timestamp
    expires_at: Timestamp | None


class QuotedLadder(BaseModel):
    """The possible `points_to_spend`: every multiple of `step` from `first` to `last`, `count` of them.

    A reward without a maximum ends at the customer's balance; `last` is null if that is below `first`. `best`: the most
    that the customer can spend now, or null.
    """

    first: int = Field(examples=[500])
    last: int | None = Field(examples=[5_000])
    step: int = Field(examples=[100])
    count: int = Field(examples=[46])
    best: int | None = Field(examples=[700])
    value_per_step: Number = Field(examples=[1.0])


class QuoteAttributes(BaseModel):
    """What a purchase would do now. If there is any reason against it: no lots, and an unchanged balance.

    The first reason is the one that the purchase would return. Lots are in the order in which they are drawn.

    Only for a reward with variable pricing: `ladder`, and, for given `points_to_spend`, their `discount_value` in the
    shop's currency. `points_cost` is then the price of one step.
    """

    customer_id: str = Field(examples=["6789012345"])
    reward_name: str = Field(examples=["£5 off your next order"])
    points_cost: int = Field(examples=[500])
    redeemable: bool
    reasons: list[Reason] = Field(examples=[[]])
    balance_before: int = Field(examples=[700])
    balance_after: int = Field(examples=[200])
    lots: list[QuotedLot]
    points_to_spend: Annotated[int | None, Absent] = None
    discount_value: Annotated[Number | None, Absent] = None
    ladder: Annotated[QuotedLadder | None, Absent] = None


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
        **_of_ladder(quote),
    )
    return Quote(id=reward.id, attributes=attributes)


def _of_ladder(quote: quotes.Quote) -> dict[str, Any]:
    ladder, points = quote.ladder, quote.points_to_spend
    if ladder is None:
        return {}
    best = ladder.best(quote.balance)
    last = best if ladder.last is None else ladder.last
    quoted = QuotedLadder(
        first=ladder.first,
        last=last,
        step=ladder.step,
        count=0 if last is None else (last - ladder.first) // ladder.step + 1,
        best=best,
        value_per_step=ladder.value_per_step,
    )
    value = None if points is None else ladder.value_of(points)
    return {"ladder": quoted, "points_to_spend": points, "discount_value": value}


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
