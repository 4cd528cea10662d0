"""Who may redeem which reward."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from domain.ladder import Ladder


class RefusalCode(StrEnum):
    """Why a redemption is refused. Also the `code` of the API's error."""

    CUSTOMER_NOT_FOUND = "customer_not_found"
    CUSTOMER_EXCLUDED = "customer_excluded"
    REWARD_NOT_FOUND = "reward_not_found"
    POINTS_TO_SPEND_MISSING = "points_to_spend_missing"
    POINTS_TO_SPEND_NOT_ALLOWED = "points_to_spend_not_allowed"
    VIP_TIER_REQUIRED = "vip_tier_required"
    POINTS_NOT_A_MULTIPLE = "points_not_a_multiple"
    BELOW_MINIMUM = "below_minimum"
    ABOVE_MAXIMUM = "above_maximum"
    INSUFFICIENT_POINTS = "insufficient_points"
    REWARD_SOLD_OUT = "reward_sold_out"
    REWARD_LIMIT_REACHED = "reward_limit_reached"


NOT_ON_THE_LADDER = (RefusalCode.POINTS_NOT_A_MULTIPLE, RefusalCode.BELOW_MINIMUM, RefusalCode.ABOVE_MAXIMUM)
"""The points to spend are no step of the reward's ladder."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A refusal, with the figures that explain it.

    Attributes:
        points_cost: what the purchase would have cost.
        points_step: of the ladder that does not have the points to spend.
        nearest: the numbers of points around it that the ladder has.
        available_at: when a limit of the customer ends. None: never, or it is not known.
    """

    code: RefusalCode
    points_available: int | None = None
    points_cost: int | None = None
    vip_tier: str | None = None
    max_redemptions: int | None = None
    points_step: int | None = None
    nearest: Sequence[int] | None = None
    max_per_customer: int | None = None
    available_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Member:
    """What eligibility depends on in a customer. `points`: spendable now."""

    excluded: bool
    vip_tier_id: str | None
    points: int


@dataclass(frozen=True, kw_only=True)
class CustomerLimits:
    """A reward's limits for each customer, and how far one customer is. Failed and refunded redemptions do not count.

    Attributes:
        last_at: when the customer last redeemed the reward.
    """

    cooldown: timedelta | None
    max_per_customer: int | None
    redemptions: int
    last_at: datetime | None
    now: datetime

    def refusal(self) -> Refusal | None:
        """Why the customer cannot redeem the reward now."""
        if self.max_per_customer is not None and self.redemptions >= self.max_per_customer:
            return Refusal(code=RefusalCode.REWARD_LIMIT_REACHED, max_per_customer=self.max_per_customer)
        if self.cooldown is not None and self.last_at is not None and self.last_at + self.cooldown > self.now:
            return Refusal(code=RefusalCode.REWARD_LIMIT_REACHED, available_at=self.last_at + self.cooldown)
        return None


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A reward that is active, not deleted and on offer.

    Attributes:
        ladder: of variable pricing. None: the price is `points_cost`.
        redemptions: how many count towards `max_redemptions`.
        limits: None: there are none.
    """

    points_cost: int
    vip_tier_id: str | None
    vip_tier: str | None
    max_redemptions: int | None
    redemptions: int
    ladder: Ladder | None = None
    limits: CustomerLimits | None = None

    def cost(self, points_to_spend: int | None) -> int:
        """What a purchase costs."""
        return self.points_cost if self.ladder is None or points_to_spend is None else points_to_spend


def refusals(member: Member | None, offer: Offer | None, *, points_to_spend: int | None = None) -> Iterator[Refusal]:
    """Every reason to refuse, in the order of the checks: customer, reward, tier, points, cap, limits."""
    if member is None:
        yield Refusal(code=RefusalCode.CUSTOMER_NOT_FOUND)
    elif member.excluded:
        yield Refusal(code=RefusalCode.CUSTOMER_EXCLUDED)
    if offer is None:
        yield Refusal(code=RefusalCode.REWARD_NOT_FOUND)
    if member is None or offer is None:
        return
    yield from _refusals(member, offer, points_to_spend)


def _refusals(member: Member, offer: Offer, points_to_spend: int | None) -> Iterator[Refusal]:
    if code := spending_error(offer.ladder, points_to_spend):
        yield Refusal(code=code)
        return
    # Exactly that tier, not "or higher": the API we are compatible with says "on that tier".
    if offer.vip_tier_id is not None and offer.vip_tier_id != member.vip_tier_id:
        yield Refusal(code=RefusalCode.VIP_TIER_REQUIRED, vip_tier=offer.vip_tier)
    if offer.ladder is not None and points_to_spend is not None:
        yield from _not_on(offer.ladder, points_to_spend)
    cost = offer.cost(points_to_spend)
    if member.points < cost:
        yield Refusal(code=RefusalCode.INSUFFICIENT_POINTS, points_available=member.points, points_cost=cost)
    if offer.max_redemptions is not None and offer.redemptions >= offer.max_redemptions:
        yield Refusal(code=RefusalCode.REWARD_SOLD_OUT, max_redemptions=offer.max_redemptions)
    if offer.limits is not None and (refusal := offer.limits.refusal()):
        yield refusal


def spending_error(ladder: Ladder | None, points_to_spend: int | None) -> RefusalCode | None:
    """Whether the points to spend are missing for variable pricing, or given for fixed pricing."""
    if (ladder is None) == (points_to_spend is None):
        return None
    return RefusalCode.POINTS_TO_SPEND_NOT_ALLOWED if ladder is None else RefusalCode.POINTS_TO_SPEND_MISSING


def _not_on(ladder: Ladder, points: int) -> Iterator[Refusal]:
    if points % ladder.step:
        code = RefusalCode.POINTS_NOT_A_MULTIPLE
    elif points < ladder.first:
        code = RefusalCode.BELOW_MINIMUM
    elif ladder.last is not None and points > ladder.last:
        code = RefusalCode.ABOVE_MAXIMUM
    else:
        return
    yield Refusal(code=code, points_cost=points, points_step=ladder.step, nearest=ladder.nearest(points))
