"""Queries about rewards and VIP tiers."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.lists import Page, rows_of
from db.tables import Reward, VipTier


async def find_reward(session: AsyncSession, shop_id: int, reward_id: str) -> Reward | None:
    """A reward that is not deleted."""
    query = select(Reward).where(Reward.shop_id == shop_id, Reward.id == reward_id, Reward.deleted_at.is_(None))
    return (await session.execute(query)).scalar_one_or_none()


async def find_active_reward(session: AsyncSession, shop_id: int, reward_id: str) -> Reward | None:
    """A reward that can be purchased: active and not deleted."""
    reward = await find_reward(session, shop_id, reward_id)
    return reward if reward is not None and reward.is_active else None


async def list_rewards(session: AsyncSession, shop_id: int) -> Sequence[Reward]:
    """The shop's rewards that are not deleted, oldest first."""
    query = select(Reward).where(Reward.shop_id == shop_id, Reward.deleted_at.is_(None))
    return (await session.scalars(query.order_by(Reward.created_at, Reward.id))).all()


async def page_of_rewards(
    session: AsyncSession, shop_id: int, page: Page, *, is_active: bool | None
) -> tuple[list[Reward], int]:
    """One page of the shop's rewards, and the total."""
    values = [True, False] if is_active is None else [is_active]
    listed = Reward.deleted_at.is_(None)
    # A shop has few rewards, so counting them is cheap.
    count = select(func.count()).where(Reward.shop_id == shop_id, listed, Reward.is_active.in_(values))
    total = (await session.execute(count)).scalar_one()
    ranges = [Reward.is_active == value for value in values]
    rows = await rows_of(session, Reward, shop_id, listed, ranges=ranges, page=page, total=total)
    return rows, total


async def tiers_with_rewards(session: AsyncSession, shop_id: int) -> list[tuple[VipTier, Sequence[Reward]]]:
    """The shop's VIP tiers, lowest first, each with the rewards that are restricted to it."""
    tiers = select(VipTier).where(VipTier.shop_id == shop_id).order_by(VipTier.points_required, VipTier.id)
    restricted = (Reward.shop_id == shop_id, Reward.vip_tier_id.is_not(None), Reward.deleted_at.is_(None))
    rewards = select(Reward).where(*restricted).order_by(Reward.points_cost, Reward.id)
    found = (await session.scalars(rewards)).all()
    return [
        (tier, [reward for reward in found if reward.vip_tier_id == tier.id]) for tier in await session.scalars(tiers)
    ]
