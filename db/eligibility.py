"""Queries of quotes for what eligibility depends on. A purchase reads the same with locks: db/reservations.py."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db import points
from db.rewards import ladder_of, limits_of
from db.tables import Customer, Redemption, Reward, VipTier
from domain.eligibility import Member, Offer
from domain.redemptions import CAPTURED, RedemptionStatus

_COUNTED = (Redemption.status.in_([RedemptionStatus.PENDING, *CAPTURED]), Redemption.is_refunded.is_(False))
"""Redemptions that count towards caps and limits. Failed and refunded ones do not."""

_NEVER: Mapping[str, Any] = {"redemptions": 0, "last_at": None}


async def member_of(session: AsyncSession, customer: Customer, *, now: datetime) -> Member:
    """The customer's eligibility data."""
    balance = await points.balance(session, customer.shop_id, customer.id, now=now)
    return Member(excluded=customer.excluded, vip_tier_id=customer.vip_tier_id, points=balance)


async def offers_of(
    session: AsyncSession, customer: Customer, rewards: Sequence[Reward], *, now: datetime
) -> list[Offer]:
    """Eligibility data of rewards of the customer's shop, in at most three queries. Nothing is locked."""
    tiers = await _tier_names(session, customer.shop_id, rewards)
    counts = await _redemption_counts(session, customer.shop_id, rewards)
    own = await _own_redemptions(session, customer, rewards)
    return [
        Offer(
            points_cost=reward.points_cost,
            ladder=ladder_of(reward),
            vip_tier_id=reward.vip_tier_id,
            vip_tier=None if reward.vip_tier_id is None else tiers[reward.vip_tier_id],
            max_redemptions=reward.max_redemptions,
            redemptions=counts.get(reward.id, 0),
            limits=limits_of(reward, now=now, **own.get(reward.id, _NEVER)),
        )
        for reward in rewards
    ]


async def _tier_names(session: AsyncSession, shop_id: int, rewards: Sequence[Reward]) -> dict[str, str]:
    ids = {reward.vip_tier_id for reward in rewards if reward.vip_tier_id is not None}
    if not ids:
        return {}
    query = select(VipTier.id, VipTier.name).where(VipTier.shop_id == shop_id, VipTier.id.in_(ids))
    return dict((await session.execute(query)).all())


async def _redemption_counts(session: AsyncSession, shop_id: int, rewards: Sequence[Reward]) -> dict[str, int]:
    """Reward id → redemptions that count towards the cap. Rewards without a cap are left out."""
    capped = [reward.id for reward in rewards if reward.max_redemptions is not None]
    if not capped:
        return {}
    query = select(Redemption.reward_id, func.count()).where(
        Redemption.shop_id == shop_id,
        Redemption.reward_id.in_(capped),
        *_COUNTED,
    )
    return dict((await session.execute(query.group_by(Redemption.reward_id))).all())


async def _own_redemptions(
    session: AsyncSession, customer: Customer, rewards: Sequence[Reward]
) -> dict[str, Mapping[str, Any]]:
    """Reward id → what the customer has redeemed of it. Rewards without limits per customer are left out."""
    limited = [one.id for one in rewards if one.cooldown_days is not None or one.max_per_customer is not None]
    if not limited:
        return {}
    last_at = func.max(func.coalesce(Redemption.captured_at, Redemption.updated_at)).label("last_at")
    query = select(Redemption.reward_id, func.count().label("redemptions"), last_at).where(
        Redemption.shop_id == customer.shop_id,
        Redemption.customer_id == customer.id,
        Redemption.reward_id.in_(limited),
        *_COUNTED,
    )
    rows = (await session.execute(query.group_by(Redemption.reward_id))).mappings()
    return {row["reward_id"]: {"redemptions": row["redemptions"], "last_at": row["last_at"]} for row in rows}
