"""Queries of imports. They lock a batch's customers in the order of their ids, before anything that belongs to them."""

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.statements import statement
from db.tables import Base, Customer, PointLot, Reward, Shop, VipTier
from domain.addresses import address_key

Columns = Mapping[str, Any]


async def discard_plans(session: AsyncSession) -> None:
    """Have this connection plan its statements again.

    The checks of foreign keys that were planned for an empty table read all customers of the shop, as they grow.
    """
    await session.execute(text("DISCARD PLANS"))


async def tiers_by_id(session: AsyncSession, shop_id: int) -> dict[str, VipTier]:
    """All VIP tiers of the shop."""
    return {tier.id: tier for tier in await session.scalars(select(VipTier).where(VipTier.shop_id == shop_id))}


async def rewards_by_id(session: AsyncSession, shop_id: int) -> dict[str, Reward]:
    """All rewards of the shop, deleted ones included."""
    return {reward.id: reward for reward in await session.scalars(select(Reward).where(Reward.shop_id == shop_id))}


async def customers_by_id(
    session: AsyncSession, shop_id: int, customer_ids: Collection[str], *, locked: bool = False
) -> dict[str, Customer]:
    """Those of these customers that exist, locked on request."""
    query = select(Customer).where(Customer.shop_id == shop_id, Customer.id.in_(customer_ids)).order_by(Customer.id)
    query = query.with_for_update() if locked else query
    return {customer.id: customer for customer in await session.scalars(query)}


async def imported_lots(session: AsyncSession, shop_id: int, customer_ids: Collection[str]) -> set[tuple[str, str]]:
    """Customer id and import id of the lots that these customers have from imports."""
    mine = (PointLot.shop_id == shop_id, PointLot.customer_id.in_(customer_ids))
    rows = await session.execute(select(PointLot.customer_id, PointLot.import_id).where(*mine))
    return {(customer_id, import_id) for customer_id, import_id in rows if import_id is not None}


async def write_customers(session: AsyncSession, shop_id: int, customers: Sequence[Columns]) -> None:
    """Insert the customers, or update the columns that are given. Unchanged rows are not written."""
    for _, rows in groupby(customers, key=tuple):
        await _upsert(session, [{"shop_id": shop_id, **_completed(row)} for row in rows])


def _completed(customer: Columns) -> Columns:
    """The columns with those that follow from them."""
    following: dict[str, Any] = {}
    if "email" in customer:
        # `Customer` sets the key only of rows that are objects.
        email = customer["email"]
        following["email_key"] = None if email is None else address_key(email)
    if "excluded" in customer:
        following["excluded_by_account"] = False
    return {**customer, **following}


async def _upsert(session: AsyncSession, rows: Sequence[Columns]) -> None:
    """Rows with the same columns."""
    table = Base.metadata.tables[Customer.__tablename__]
    write = insert(table)
    changed = {name: write.excluded[name] for name in rows[0] if not table.columns[name].primary_key}
    key = ["shop_id", "id"]
    if changed:
        differs = or_(*(table.columns[name].is_distinct_from(value) for name, value in changed.items()))
        write = write.on_conflict_do_update(
            index_elements=key, set_={**changed, "updated_at": func.now()}, where=differs
        )
    else:
        write = write.on_conflict_do_nothing(index_elements=key)
    await session.execute(write, rows)


# One statement for all lots of a batch, so that the totals, which a trigger keeps, are updated once.
_ADD_LOTS = statement(
    """
    WITH imported AS (
        SELECT * FROM jsonb_to_recordset(:lots) AS lot (
            customer_id varchar, id varchar, points integer, earned_at timestamptz, expires_at timestamptz,
            source varchar, earning_id varchar
        )
    ), added AS (
        INSERT INTO point_lots (shop_id, customer_id, import_id, points, remaining, earned_at, expires_at, source)
        SELECT :shop_id, customer_id, id, points, points, earned_at, expires_at, source FROM imported
        ON CONFLICT DO NOTHING
        RETURNING id, customer_id, import_id, points, earned_at
    ), entries AS (
        INSERT INTO ledger_entries (shop_id, customer_id, lot_id, points, lifetime_points, kind)
        SELECT :shop_id, customer_id, id, points, points, :earn FROM added
    ), history AS (
        INSERT INTO earnings (id, shop_id, customer_id, lot_id, action, points, created_at)
        SELECT earning_id, :shop_id, added.customer_id, added.id, 'import', added.points, added.earned_at
        FROM added JOIN imported ON (imported.customer_id, imported.id) = (added.customer_id, added.import_id)
    )
    SELECT customer_id FROM added
    """,
    lots=JSONB,
)


async def add_lots(session: AsyncSession, shop_id: int, lots: Sequence[Columns]) -> list[str]:
    """Add the lots that locked customers do not have yet. Returns the customer id of each new lot."""
    return list(await session.scalars(_ADD_LOTS, {"shop_id": shop_id, "lots": lots})) if lots else []


async def count_new_customers(session: AsyncSession, shop_id: int, number: int) -> None:
    """Add to the shop's number of customers. The shop must be locked.

    Keeps the time of the shop's last change: an older uninstallation still removes its credentials.
    """
    counted = {"customers": Shop.customers + number, "updated_at": Shop.updated_at}
    await session.execute(update(Shop).where(Shop.id == shop_id).values(counted))
