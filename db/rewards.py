"""Queries about rewards and VIP tiers as a shop shows them; what can be bought is `db.catalogue`'s."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.lists import Page, rows_of
from db.tables import Reward, VipTier


async def find_listed_reward(session: AsyncSession, shop_id: int, reward_id: str) -> Reward | None:
    """A reward that is not deleted."""
    query = select(Reward).where(Reward.shop_id == shop_id, Reward.id == reward_id, Reward.deleted_at.is_(None))
    return (await session.execute(query)).scalar_one_or_none()


async def page_of_rewards(
    session: AsyncSession, shop_id: int, page: Page, *, is_active: bool | None
) -> tuple[list[Reward], int]:
    """One page of the shop's rewards, and how many there are. They are few, so they are counted each time."""
    values = [True, False] if is_active is None else [is_active]
    listed = Reward.deleted_at.is_(None)
    count = select(func.count()).where(Reward.shop_id == shop_id, listed, Reward.is_active.in_(values))
    total = (await session.execute(count)).scalar_one()
    rows = await rows_of(
        session, Reward, shop_id, listed, grouped_by=Reward.is_active, values=values, page=page, total=total
    )
    return rows, total


async def tiers_with_rewards(session: AsyncSession, shop_id: int) -> list[tuple[VipTier, Sequence[Reward]]]:
    """The shop's VIP tiers, the lowest first, each with the rewards that are only for it."""
    tiers = select(VipTier).where(VipTier.shop_id == shop_id).order_by(VipTier.points_required, VipTier.id)
    rewards = select(Reward).where(
        Reward.shop_id == shop_id, Reward.vip_tier_id.is_not(None), Reward.deleted_at.is_(None)
    )
    found = (await session.scalars(rewards.order_by(Reward.points_cost, Reward.id))).all()
    return [
        (tier, [reward for reward in found if reward.vip_tier_id == tier.id]) for tier in await session.scalars(tiers)
    ]


async def find_reward(session: AsyncSession, shop_id: int, reward_id: str) -> Reward | None:
    """A reward that can be bought: active and not deleted."""
    on_offer = (Reward.is_active, Reward.deleted_at.is_(None))
    query = select(Reward).where(Reward.shop_id == shop_id, Reward.id == reward_id, *on_offer)
    return (await session.execute(query)).scalar_one_or_none()
