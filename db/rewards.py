"""Queries about rewards and VIP tiers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.lists import Page, rows_of
from db.tables import Reward, VipTier
from domain.eligibility import CustomerLimits
from domain.ladder import Ladder


def ladder_of(reward: Any) -> Ladder | None:
    """The ladder of a reward with variable pricing, of any row that has its columns. None: the price is fixed."""
    if reward.points_step is None or reward.value_per_step is None:
        return None
    bounds = {"min_points": reward.min_points, "max_points": reward.max_points}
    return Ladder.of(
        step=reward.points_step, value_per_step=reward.value_per_step, max_value=reward.max_value, **bounds
    )


def limits_of(reward: Any, *, redemptions: int, last_at: datetime | None, now: datetime) -> CustomerLimits | None:
    """The reward's limits for each customer, with what one has redeemed, of any row. None: there are none."""
    if reward.cooldown_days is None and reward.max_per_customer is None:
        return None
    return CustomerLimits(
        cooldown=None if reward.cooldown_days is None else timedelta(days=reward.cooldown_days),
        max_per_customer=reward.max_per_customer,
        redemptions=redemptions,
        last_at=last_at,
        now=now,
    )


def offered_sql(reward: str, now: str) -> str:
    """SQL: whether the reward, a table or its alias, can be purchased at this time, an expression."""
    return f"""({reward}.is_active AND {reward}.deleted_at IS NULL AND coalesce({reward}.starts_at <= {now}, true)
        AND coalesce({reward}.ends_at > {now}, true))"""


_ON_OFFER = and_(
    or_(Reward.starts_at.is_(None), Reward.starts_at <= func.now()),
    or_(Reward.ends_at.is_(None), Reward.ends_at > func.now()),
)


async def find_reward(session: AsyncSession, shop_id: int, reward_id: str) -> Reward | None:
    """A reward that is not deleted."""
    query = select(Reward).where(Reward.shop_id == shop_id, Reward.id == reward_id, Reward.deleted_at.is_(None))
    return (await session.execute(query)).scalar_one_or_none()


async def find_active_reward(session: AsyncSession, shop_id: int, reward_id: str) -> Reward | None:
    """A reward that can be purchased: active, not deleted and on offer now."""
    mine = (Reward.shop_id == shop_id, Reward.id == reward_id, Reward.deleted_at.is_(None))
    query = select(Reward).where(*mine, Reward.is_active.is_(True), _ON_OFFER)
    return (await session.execute(query)).scalar_one_or_none()


async def list_rewards(session: AsyncSession, shop_id: int) -> Sequence[Reward]:
    """The shop's rewards that are not deleted, oldest first."""
    query = select(Reward).where(Reward.shop_id == shop_id, Reward.deleted_at.is_(None))
    return (await session.scalars(query.order_by(Reward.created_at, Reward.id))).all()


async def page_of_rewards(
    session: AsyncSession, shop_id: int, page: Page, *, is_active: bool | None, on_offer: bool = False
) -> tuple[list[Reward], int]:
    """One page of the shop's rewards, and the total. `on_offer`: only those with a period that includes now."""
    values = [True, False] if is_active is None else [is_active]
    listed = Reward.deleted_at.is_(None)
    listed = and_(listed, _ON_OFFER) if on_offer else listed
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
