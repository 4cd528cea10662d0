"""Queries of quotes for what eligibility depends on. A purchase reads the same with locks: db/reservations.py."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db import points
from db.tables import Customer, Redemption, Reward, VipTier
from domain.eligibility import Member, Offer
from domain.redemptions import CAPTURED, RedemptionStatus


async def member_of(session: AsyncSession, customer: Customer, *, now: datetime) -> Member:
    """The customer's eligibility data."""
    balance = await points.balance(session, customer.shop_id, customer.id, now=now)
    return Member(excluded=customer.excluded, vip_tier_id=customer.vip_tier_id, points=balance)


async def offers_of(session: AsyncSession, shop_id: int, rewards: Sequence[Reward]) -> list[Offer]:
    """Eligibility data of a shop's rewards, in at most two queries. Nothing is locked."""
    tiers = await _tier_names(session, shop_id, rewards)
    counts = await _redemption_counts(session, shop_id, rewards)
    return [
        Offer(
            points_cost=reward.points_cost,
            vip_tier_id=reward.vip_tier_id,
            vip_tier=None if reward.vip_tier_id is None else tiers[reward.vip_tier_id],
            max_redemptions=reward.max_redemptions,
            redemptions=counts.get(reward.id, 0),
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
        Redemption.status.in_([RedemptionStatus.PENDING, *CAPTURED]),
        Redemption.is_refunded.is_(False),
    )
    return dict((await session.execute(query.group_by(Redemption.reward_id))).all())
