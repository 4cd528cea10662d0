"""Quotes: what a purchase would do now. Nothing is changed or locked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from db import eligibility, points, transactions
from db.tables import Customer, PointLot, Reward
from db.transactions import Snapshot
from domain.eligibility import Offer, Refusal, RefusalCode, refusals, spending_error
from domain.ladder import Ladder
from domain.points import draw_fifo


@dataclass(frozen=True, kw_only=True)
class Quote:
    """What a purchase would do: every reason to refuse it, the balance before it, and the points it draws per lot.

    Attributes:
        ladder: of a reward with variable pricing.
        points_to_spend: the ladder's points that were quoted. None: the price is fixed, or none were chosen.
    """

    refusals: Sequence[Refusal]
    balance: int
    draws: Sequence[tuple[PointLot, int]]
    ladder: Ladder | None
    points_to_spend: int | None


async def quote(session: Snapshot, customer: Customer, reward: Reward, points_to_spend: int | None) -> Quote:
    """What the purchase of an active reward would do. On a snapshot, as balance and lots must agree.

    Without points to spend, a reward with variable pricing is quoted for its first step, and nothing is drawn.
    """
    now = await transactions.now(session)
    member = await eligibility.member_of(session, customer, now=now)
    [offer] = await eligibility.offers_of(session, customer, [reward], now=now)
    reasons = list(
        refusals(member, offer, points_to_spend=_first(offer) if points_to_spend is None else points_to_spend)
    )
    chosen = Quote(
        refusals=reasons, balance=member.points, draws=(), ladder=offer.ladder, points_to_spend=points_to_spend
    )
    is_open = spending_error(offer.ladder, points_to_spend) is RefusalCode.POINTS_TO_SPEND_MISSING
    if reasons or is_open:
        return chosen
    lots = await points.spendable_lots(session, customer.shop_id, customer.id, now=now)
    by_id = {lot.id: lot for lot in lots}
    draws = draw_fifo(points.as_domain(lots), offer.cost(points_to_spend), now=now)
    return replace(chosen, draws=[(by_id[draw.lot_id], draw.points) for draw in draws])


async def refusals_of(session: Snapshot, customer: Customer, rewards: Sequence[Reward]) -> list[list[Refusal]]:
    """For each of these active rewards of the customer's shop, every reason to refuse its purchase."""
    now = await transactions.now(session)
    member = await eligibility.member_of(session, customer, now=now)
    offers = await eligibility.offers_of(session, customer, rewards, now=now)
    return [list(refusals(member, offer, points_to_spend=_first(offer))) for offer in offers]


def _first(offer: Offer) -> int | None:
    return None if offer.ladder is None else offer.ladder.first
