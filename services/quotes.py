"""Quotes: what a purchase would do now. Nothing is changed or locked."""

from collections.abc import Sequence
from dataclasses import dataclass

from db import eligibility, points, transactions
from db.tables import Customer, PointLot, Reward
from db.transactions import Snapshot
from domain.eligibility import Refusal, refusals
from domain.points import draw_fifo


@dataclass(frozen=True, kw_only=True)
class Quote:
    """What a purchase would do: every reason to refuse it, the balance before it, and the points it draws per lot."""

    refusals: Sequence[Refusal]
    balance: int
    draws: Sequence[tuple[PointLot, int]]


async def quote(session: Snapshot, customer: Customer, reward: Reward) -> Quote:
    """What the purchase of an active reward would do. On a snapshot, as balance and lots must agree."""
    now = await transactions.now(session)
    member = await eligibility.member_of(session, customer, now=now)
    [offer] = await eligibility.offers_of(session, reward.shop_id, [reward])
    reasons = list(refusals(member, offer))
    if reasons:
        return Quote(refusals=reasons, balance=member.points, draws=())
    lots = await points.spendable_lots(session, customer.shop_id, customer.id, now=now)
    by_id = {lot.id: lot for lot in lots}
    draws = draw_fifo(points.as_domain(lots), reward.points_cost, now=now)
    return Quote(refusals=(), balance=member.points, draws=[(by_id[draw.lot_id], draw.points) for draw in draws])


async def refusals_of(session: Snapshot, customer: Customer, rewards: Sequence[Reward]) -> list[list[Refusal]]:
    """For each of these active rewards of the customer's shop, every reason to refuse its purchase."""
    member = await eligibility.member_of(session, customer, now=await transactions.now(session))
    offers = await eligibility.offers_of(session, customer.shop_id, rewards)
    return [list(refusals(member, offer)) for offer in offers]
