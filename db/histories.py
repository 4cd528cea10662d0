"""Queries about a customer's earning history and reward history."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, and_, func, not_, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.discount_codes import customer_codes
from db.lists import Page, rows_of
from db.tables import Customer, Earning, HistoryCount, PointLot, Redemption
from domain.redemptions import CAPTURED, RedemptionStatus

Entry = TypeVar("Entry", Earning, Redemption)


async def page_of_earnings(
    session: AsyncSession, customer: Customer, page: Page, *, statuses: Sequence[str]
) -> tuple[list[tuple[Earning, datetime | None]], int]:
    """One page of the earning history, each entry with the expiry of its points, and the total."""
    total = await _count(session, customer, Earning, statuses)
    rows = await _rows(session, customer, Earning, page, [Earning.status == one for one in statuses], total)
    lots = select(PointLot.id, PointLot.expires_at).where(PointLot.id.in_([row.lot_id for row in rows]))
    expiries = {lot.id: lot.expires_at for lot in await session.execute(lots)}
    return [(row, expiries.get(row.lot_id)) for row in rows], total


async def page_of_redemptions(
    session: AsyncSession, customer: Customer, page: Page, *, status: str | None
) -> tuple[list[tuple[Redemption, str | None]], int]:
    """One page of the reward history, each redemption with its code, and the total.

    `status`: as it is shown. None: every captured redemption.
    """
    statuses = sorted(CAPTURED) if status is None else [status]
    total = await _count(session, customer, Redemption, statuses)
    ranges = [Redemption.status == one for one in statuses]
    match status:
        case RedemptionStatus.ACTIVE:
            total -= await _count_ended(session, customer)
            ranges = [and_(*ranges, not_(Redemption.has_ended))]
        case RedemptionStatus.EXPIRED:
            total += await _count_ended(session, customer)
            ranges += [Redemption.has_ended.expression]
        case _:
            pass
    rows = await _rows(session, customer, Redemption, page, ranges, total)
    codes = await customer_codes(session, rows)
    return [(row, codes.get(row.id)) for row in rows], total


async def _count(session: AsyncSession, customer: Customer, table: type[Entry], statuses: Sequence[str]) -> int:
    count = select(func.coalesce(func.sum(HistoryCount.entries), 0)).where(
        HistoryCount.shop_id == customer.shop_id,
        HistoryCount.customer_id == customer.id,
        HistoryCount.history == table.__tablename__,
        HistoryCount.status.in_(statuses),
    )
    return (await session.execute(count)).scalar_one()


async def _count_ended(session: AsyncSession, customer: Customer) -> int:
    """Number of redemptions that are shown as expired before the sweep has set their status."""
    mine = (Redemption.shop_id == customer.shop_id, Redemption.customer_id == customer.id)
    return (await session.execute(select(func.count()).where(*mine, Redemption.has_ended))).scalar_one()


async def _rows(
    session: AsyncSession,
    customer: Customer,
    table: type[Entry],
    page: Page,
    ranges: Sequence[ColumnElement[bool]],
    total: int,
) -> list[Entry]:
    of_customer = table.customer_id == customer.id
    return await rows_of(session, table, customer.shop_id, of_customer, ranges=ranges, page=page, total=total)
