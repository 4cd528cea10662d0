"""Who may redeem which reward."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class RefusalCode(StrEnum):
    """Why a redemption is refused. Also the `code` of the API's error."""

    CUSTOMER_NOT_FOUND = "customer_not_found"
    CUSTOMER_EXCLUDED = "customer_excluded"
    REWARD_NOT_FOUND = "reward_not_found"
    VIP_TIER_REQUIRED = "vip_tier_required"
    INSUFFICIENT_POINTS = "insufficient_points"
    REWARD_SOLD_OUT = "reward_sold_out"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A refusal, with the figures that explain it."""

    code: RefusalCode
    points_available: int | None = None
    points_cost: int | None = None
    vip_tier: str | None = None
    max_redemptions: int | None = None


@dataclass(frozen=True, kw_only=True)
class Member:
    """What eligibility depends on in a customer. `points`: spendable now."""

    excluded: bool
    vip_tier_id: str | None
    points: int


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A reward that is active and not deleted. `redemptions`: how many count towards `max_redemptions`."""

    points_cost: int
    vip_tier_id: str | None
    vip_tier: str | None
    max_redemptions: int | None
    redemptions: int


def refusals(member: Member | None, offer: Offer | None) -> Iterator[Refusal]:
    """Every reason to refuse, in the order of the checks: customer, reward, tier, points, cap."""
    if member is None:
        yield Refusal(code=RefusalCode.CUSTOMER_NOT_FOUND)
    elif member.excluded:
        yield Refusal(code=RefusalCode.CUSTOMER_EXCLUDED)
    if offer is None:
        yield Refusal(code=RefusalCode.REWARD_NOT_FOUND)
    if member is None or offer is None:
        return
    # Exactly that tier, not "or higher": the API we are compatible with says "on that tier".
    if offer.vip_tier_id is not None and offer.vip_tier_id != member.vip_tier_id:
        yield Refusal(code=RefusalCode.VIP_TIER_REQUIRED, vip_tier=offer.vip_tier)
    if member.points < offer.points_cost:
        yield Refusal(
            code=RefusalCode.INSUFFICIENT_POINTS, points_available=member.points, points_cost=offer.points_cost
        )
    if offer.max_redemptions is not None and offer.redemptions >= offer.max_redemptions:
        yield Refusal(code=RefusalCode.REWARD_SOLD_OUT, max_redemptions=offer.max_redemptions)
