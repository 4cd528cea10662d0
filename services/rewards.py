"""Create, change and delete rewards: validated like an import, and logged with their actor."""

from typing import Any

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from db.activity_log import log_shop
from db.shops import lock_shop
from db.tables import Reward, Shop
from domain.activity_log import ActivityKind
from domain.ids import new_reward_id
from services.import_changes import Stored, check_fit
from services.import_format import ImportedShop
from services.imports import write_reward
from services.reward_format import ImportedReward, RewardFields


class RewardExists(Exception):
    """The shop has a reward with this id, which may be deleted."""

    def __init__(self, reward_id: str) -> None:
        super().__init__(f"Reward '{reward_id}' exists already, or was deleted. Choose another id.")


class RewardNotFound(Exception):
    """The shop has no reward with this id, or has deleted it."""

    def __init__(self, reward_id: str) -> None:
        super().__init__(f"Reward '{reward_id}' not found")


async def create_reward(
    session: AsyncSession, shop_id: int, fields: RewardFields, *, reward_id: str | None, actor: str
) -> Reward:
    """Add a reward. Default id: a random one. Raises `RewardExists` or `DoesNotFit`."""
    shop, stored = await _lock(session, shop_id)
    reward_id = reward_id or new_reward_id()
    if reward_id in stored.rewards:
        raise RewardExists(reward_id)
    imported = _as_imported(reward_id, fields)
    check_fit(ImportedShop.model_validate({"domain": shop.domain, "rewards": [imported]}), stored)
    row = write_reward(session, shop, imported, None)
    await _write(session, row, ActivityKind.REWARD_CREATED, actor=actor)
    return row


async def change_reward(
    session: AsyncSession, shop_id: int, reward_id: str, fields: RewardFields, *, actor: str
) -> Reward:
    """Set the named fields. Raises `RewardNotFound` or `DoesNotFit`."""
    shop, stored = await _lock(session, shop_id)
    row = _get(stored, reward_id)
    imported = _as_imported(reward_id, fields)
    check_fit(ImportedShop.model_validate({"domain": shop.domain, "rewards": [imported]}), stored)
    if changed := sorted(name for name, value in imported.columns.items() if getattr(row, name) != value):
        write_reward(session, shop, imported, row)
        await _write(session, row, ActivityKind.REWARD_UPDATED, actor=actor, fields=changed)
    return row


async def delete_reward(session: AsyncSession, shop_id: int, reward_id: str, *, actor: str) -> None:
    """End purchases of the reward for good. Its redemptions stay. Raises `RewardNotFound`."""
    _, stored = await _lock(session, shop_id)
    row = _get(stored, reward_id)
    row.deleted_at = func.now()
    await _write(session, row, ActivityKind.REWARD_DELETED, actor=actor)


async def _lock(session: AsyncSession, shop_id: int) -> tuple[Shop, Stored]:
    """The shop, locked against imports and other changes of its rewards. Its purchases do not wait."""
    shop = await lock_shop(session, shop_id)
    return shop, await Stored.of(session, shop)


def _get(stored: Stored, reward_id: str) -> Reward:
    row = stored.rewards.get(reward_id)
    if row is None or row.deleted_at is not None:
        raise RewardNotFound(reward_id)
    return row


def _as_imported(reward_id: str, fields: RewardFields) -> ImportedReward:
    named = fields.model_dump(include=set(RewardFields.model_fields), exclude_unset=True)
    return ImportedReward.model_validate({**named, "id": reward_id})


async def _write(session: AsyncSession, row: Reward, kind: ActivityKind, *, actor: str, **more: Any) -> None:
    await session.flush()
    await session.refresh(row)
    log_shop(session, row.shop_id, kind, {"reward_id": row.id, "actor": actor, **more})
