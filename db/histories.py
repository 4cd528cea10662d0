"""Queries about a customer's earning history and reward history."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.discount_codes import customer_codes
from db.lists import Page, rows_of
from db.tables import Customer, Earning, HistoryCount, PointLot, Redemption

Entry = TypeVar("Entry", Earning, Redemption)


async def page_of_earnings(
    session: AsyncSession, customer: Customer, page: Page, *, statuses: Sequence[str]
) -> tuple[list[tuple[Earning, datetime | None]], int]:
    """One page of the earning history, each entry with the expiry of its points, and the total."""
    rows, total = await _page(session, customer, Earning, page, statuses)
    lots = select(PointLot.id, PointLot.expires_at).where(PointLot.id.in_([row.lot_id for row in rows]))
    expiries = {lot.id: lot.expires_at for lot in await session.execute(lots)}
    return [(row, expiries.get(row.lot_id)) for row in rows], total


async def page_of_redemptions(
    session: AsyncSession, customer: Customer, page: Page, *, statuses: Sequence[str]
) -> tuple[list[tuple[Redemption, str | None]], int]:
    """One page of the reward history, each redemption with its code, and the total."""
    rows, total = await _page(session, customer, Redemption, page, statuses)
    codes = await customer_codes(session, rows)
    return [(row, codes.get(row.id)) for row in rows], total


async def _page(
    session: AsyncSession, customer: Customer, table: type[Entry], page: Page, statuses: Sequence[str]
) -> tuple[list[Entry], int]:
    count = select(func.coalesce(func.sum(HistoryCount.entries), 0)).where(
        HistoryCount.shop_id == customer.shop_id,
        HistoryCount.customer_id == customer.id,
        HistoryCount.history == table.__tablename__,
        HistoryCount.status.in_(statuses),
    )
    total = (await session.execute(count)).scalar_one()
    of_customer = table.customer_id == customer.id
    rows = await rows_of(
        session, table, customer.shop_id, of_customer, grouped_by=table.status, values=statuses, page=page, total=total
    )
    return rows, total
