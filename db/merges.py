"""The merge of two customers: the surviving one gets everything that the other one has.

Rows are moved, not copied, so that points are neither lost nor doubled: each sum over both customers stays the same.
"""

from collections.abc import Iterator

from sqlalchemy import Table, and_, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from db.activity_log import log_customer
from db.customers import write_change
from db.imports import count_new_customers, customers_by_id, tiers_by_id
from db.metafields import delete_stale
from db.shops import hold_shop
from db.tables import Base, Customer, HistoryCount, PointLot, Redemption, StaleMetafield
from domain.activity_log import ActivityKind
from domain.tiers import tier_after

TOTALS = ("points", "lifetime_points", "redeemed_points")
# Tables with rows that are not simply moved.
_OTHERS = {HistoryCount.__tablename__, PointLot.__tablename__, StaleMetafield.__tablename__}


async def merge_customers(session: AsyncSession, shop_id: int, *, kept_id: str, merged_id: str, actor: str) -> bool:
    """Give the kept customer all that the merged one has, and close the merged one. Safe to repeat.

    False: nothing to do, as the merged customer is unknown, or was merged before. A kept customer who is unknown is
    added. One who was merged meanwhile is replaced by the survivor of that merge.
    """
    # The shop first, so that its merges follow one another; then both customers in the order of their ids. One who was
    # merged before is not locked: a transaction that holds that lock locks the survivor next, in any order of ids.
    await hold_shop(session, shop_id)
    kept_id = await _survivor(session, shop_id, kept_id)
    if kept_id == merged_id or await _survivor(session, shop_id, merged_id) != merged_id:
        return False
    rows = await customers_by_id(session, shop_id, {kept_id, merged_id}, locked=True)
    merged = rows.get(merged_id)
    if merged is None:
        return False
    kept = rows.get(kept_id) or await _add(session, shop_id, kept_id)
    await _close(session, merged, kept)
    lots = await _move_lots(session, merged, kept)
    redemptions = await _count(session, merged)
    for table in _tables():
        await _move(session, table, merged, kept)
    await _move_counts(session, merged, kept)
    points = await _move_totals(session, merged, kept)
    await delete_stale(session, shop_id, [merged.id])
    facts = {
        "actor": actor,
        "merged_customer_id": merged.id,
        "points": points,
        "lots": lots,
        "redemptions": redemptions,
    }
    log_customer(session, shop_id, kept.id, ActivityKind.CUSTOMERS_MERGED, facts)
    log_customer(session, shop_id, merged.id, ActivityKind.CUSTOMERS_MERGED, {"actor": actor, "merged_into": kept.id})
    await write_change(session, kept)
    return True


async def _survivor(session: AsyncSession, shop_id: int, customer_id: str) -> str:
    """The customer, or who has their points after all merges so far. The shop must be locked."""
    while True:
        query = select(Customer.merged_into).where(Customer.shop_id == shop_id, Customer.id == customer_id)
        following = (await session.execute(query)).scalar_one_or_none()
        if following is None:
            return customer_id
        customer_id = following


async def _add(session: AsyncSession, shop_id: int, customer_id: str) -> Customer:
    kept = Customer(shop_id=shop_id, id=customer_id)
    session.add(kept)
    await session.flush()
    await session.refresh(kept)
    await count_new_customers(session, shop_id, 1)
    return kept


async def _close(session: AsyncSession, merged: Customer, kept: Customer) -> None:
    """Exclude the merged customer, and give their personal data to the kept one where that has none."""
    personal = {column.key for column in Customer.__table__.columns if "erased" in column.info} - {"email_key"}
    values = {name: getattr(merged, name) for name in personal}
    merged.merged_into, merged.excluded = kept.id, True
    for name in personal:
        setattr(merged, name, None)
    # Before the entries of the ledger, whose trigger checks the merge, and before the address has a new owner.
    await session.flush()
    if kept.erased_at is None:
        for name, value in values.items():
            if getattr(kept, name) is None:
                setattr(kept, name, value)
    await session.flush()


async def _move_lots(session: AsyncSession, merged: Customer, kept: Customer) -> int:
    """Move the lots. One whose import id the kept customer has too gets the merged customer's id in front."""
    theirs = aliased(PointLot)
    is_taken = exists().where(
        theirs.shop_id == kept.shop_id, theirs.customer_id == kept.id, theirs.import_id == PointLot.import_id
    )
    prefixed = func.concat(merged.id, "/", PointLot.import_id)
    mine = (PointLot.shop_id == merged.shop_id, PointLot.customer_id == merged.id)
    await session.execute(update(PointLot).where(*mine, is_taken).values(import_id=prefixed))
    moved = update(PointLot).where(*mine).values(customer_id=kept.id).returning(PointLot.id)
    return len((await session.scalars(moved)).all())


async def _count(session: AsyncSession, merged: Customer) -> int:
    mine = (Redemption.shop_id == merged.shop_id, Redemption.customer_id == merged.id)
    return (await session.execute(select(func.count()).select_from(Redemption).where(*mine))).scalar_one()


def _tables() -> Iterator[Table]:
    """Every table with rows of a customer. New tables are included."""
    for table in Base.metadata.sorted_tables:
        if "customer_id" in table.columns and table.name not in _OTHERS:
            yield table


async def _move(session: AsyncSession, table: Table, merged: Customer, kept: Customer) -> None:
    mine = (table.c.shop_id == merged.shop_id, table.c.customer_id == merged.id)
    # Nothing that clients see has changed.
    unchanged = {"updated_at": table.c.updated_at} if "updated_at" in table.c else {}
    await session.execute(update(table).where(*mine).values(customer_id=kept.id, **unchanged))


async def _move_counts(session: AsyncSession, merged: Customer, kept: Customer) -> None:
    """Add the counts of the merged customer's histories. Triggers do not see a change of the customer."""
    mine = and_(HistoryCount.shop_id == merged.shop_id, HistoryCount.customer_id == merged.id)
    columns = (HistoryCount.shop_id, HistoryCount.history, HistoryCount.status, HistoryCount.entries)
    counts = (
        await session.execute(select(*columns).where(mine).order_by(HistoryCount.history, HistoryCount.status))
    ).all()
    for shop_id, history, status, entries in counts:
        values = {"shop_id": shop_id, "history": history, "status": status, "entries": entries}
        write = insert(HistoryCount).values(customer_id=kept.id, **values)
        sums = {"entries": HistoryCount.entries + write.excluded.entries}
        key = ["shop_id", "customer_id", "history", "status"]
        await session.execute(write.on_conflict_do_update(index_elements=key, set_=sums))
    await session.execute(delete(HistoryCount).where(mine))


async def _move_totals(session: AsyncSession, merged: Customer, kept: Customer) -> int:
    """Add the merged customer's totals, and set the VIP tier that they reach together. Returns the moved points."""
    before, points = kept.lifetime_points, merged.points
    for name in TOTALS:
        setattr(kept, name, getattr(kept, name) + getattr(merged, name))
        setattr(merged, name, 0)
    required = {tier.id: tier.points_required for tier in (await tiers_by_id(session, kept.shop_id)).values()}
    reached = tier_after(kept.vip_tier_id, required, before=before, after=kept.lifetime_points)
    kept.vip_tier_id = max(reached, merged.vip_tier_id, key=lambda tier: -1 if tier is None else required[tier])
    await session.flush()
    return points
