"""The activity log. Every entry of every shop is added here."""

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.lists import Page, page_of_few
from db.tables import ActivityLog, Customer, Redemption
from domain.activity_log import ActivityKind


class OfRedemption(Protocol):
    """Anything that names a redemption with its customer and shop."""

    @property
    def shop_id(self) -> int: ...
    @property
    def customer_id(self) -> str: ...
    @property
    def redemption_id(self) -> str: ...


ADD_ENTRY = """INSERT INTO activity_log (shop_id, customer_id, redemption_id, kind, facts)
    SELECT r.shop_id, r.customer_id, r.id, :entry, :facts FROM redemption r"""
"""Adds an entry within a statement that has the redemption's row as `redemption`."""


def log_shop(session: AsyncSession, shop_id: int, kind: ActivityKind, facts: dict[str, Any]) -> None:
    """Add an entry about a whole shop."""
    session.add(ActivityLog(shop_id=shop_id, kind=kind, facts=facts))


def log_customer(
    session: AsyncSession, shop_id: int, customer_id: str, kind: ActivityKind, facts: dict[str, Any]
) -> None:
    """Add an entry about a customer."""
    session.add(ActivityLog(shop_id=shop_id, customer_id=customer_id, kind=kind, facts=facts))


def log_redemption(
    session: AsyncSession, of: Redemption | OfRedemption, kind: ActivityKind, facts: dict[str, Any]
) -> None:
    """Add an entry about a redemption."""
    session.add(ActivityLog(**_ids(of), kind=kind, facts=facts))


async def log_redemption_once(
    session: AsyncSession, redemption: Redemption, kind: ActivityKind, facts: dict[str, Any]
) -> None:
    """Add an entry about a redemption and an order, unless it has one of this kind. The customer must be locked."""
    of_order = or_(ActivityLog.facts["order_id"].astext == facts["order_id"], ~ActivityLog.facts.has_key("order_id"))
    known = select(ActivityLog.id).where(ActivityLog.redemption_id == redemption.id, ActivityLog.kind == kind, of_order)
    if (await session.execute(known.limit(1))).first() is None:
        log_redemption(session, redemption, kind, facts)


async def log_operator_action(
    session: AsyncSession, attempt: OfRedemption, kind: ActivityKind, *, action_key: str, facts: dict[str, Any]
) -> None:
    """Add an operator's action, before it is carried out. An action with a known key is not added again."""
    entry = insert(ActivityLog).values(**_ids(attempt), kind=kind, action_key=action_key, facts=facts)
    await session.execute(entry.on_conflict_do_nothing(index_elements=["redemption_id", "action_key"]))


async def page_of_activity(session: AsyncSession, customer: Customer, page: Page) -> tuple[Sequence[ActivityLog], int]:
    """One page of the entries about a customer and their redemptions, and the total."""
    of_customer = (ActivityLog.shop_id == customer.shop_id, ActivityLog.customer_id == customer.id)
    return await page_of_few(session, ActivityLog, page, *of_customer)


async def erase_shop_entries(session: AsyncSession, shop_id: int) -> None:
    """Delete what the entries about the whole shop report. They contain labels of its keys."""
    of_shop = (ActivityLog.shop_id == shop_id, ActivityLog.customer_id.is_(None))
    await session.execute(update(ActivityLog).where(*of_shop).values(facts={}))


def _ids(of: Redemption | OfRedemption) -> dict[str, Any]:
    return {"shop_id": of.shop_id, "customer_id": of.customer_id, "redemption_id": of.redemption_id}
