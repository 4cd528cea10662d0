"""Who a customer is: followed, told and erased. `db.tables` says which columns are personal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, Table, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.customers import lock_customer
from db.metafields import forget_stale
from db.tables import Base, Customer, Delivery, IdempotencyKey, Redemption


async def follow(
    session: AsyncSession, shop_id: int, customer_id: str, changes: Mapping[str, str | None], *, as_of: datetime
) -> None:
    """Take over what Shopify says of a known customer, unless newer is known, or the customer is erased."""
    customer = await lock_customer(session, shop_id, customer_id)
    if customer is None or customer.erased_at is not None or (customer.profile_as_of or as_of) > as_of:
        return
    for field, value in changes.items():
        taken = field == "email" and value and not await _give_up_email(session, customer, value, as_of)
        setattr(customer, field, None if taken else value or None)
    customer.profile_as_of = as_of


async def _give_up_email(session: AsyncSession, customer: Customer, email: str, as_of: datetime) -> bool:
    """Whether the address is free. News comes in any order: who had it before may not have let go of it yet."""
    others = (Customer.shop_id == customer.shop_id, Customer.id != customer.id)
    query = select(Customer).where(*others, func.lower(Customer.email) == email.lower()).with_for_update()
    holder = (await session.execute(query)).scalar_one_or_none()
    if holder is not None and (holder.profile_as_of or as_of) > as_of:
        return False
    if holder is not None:
        holder.email = None
        await session.flush()
    return True


async def known_about(session: AsyncSession, shop_id: int, customer_id: str) -> dict[str, list[dict[str, Any]]]:
    """Everything that is kept of a customer, by table: what a merchant answers a request for data with."""
    known: dict[str, list[dict[str, Any]]] = {}
    for table, mine in _rows_of(shop_id, [customer_id]):
        readable = [column for column in table.columns if not isinstance(column.type, LargeBinary)]
        query = select(*readable).where(mine).order_by(*table.primary_key)
        known[table.name] = [dict(row) for row in (await session.execute(query)).mappings()]
    return known


async def erase_customer(
    session: AsyncSession, shop_id: int, customer_id: str | None, *, known_as: Iterable[str | None] = ()
) -> None:
    """Erase whoever has this id, and what was answered to somebody of these e-mail addresses and phone numbers."""
    words = {*known_as}
    customer = customer_id and await lock_customer(session, shop_id, customer_id)
    if customer:
        words |= {customer.email, customer.phone}
        await _erase(session, shop_id, [customer.id])
    for word in filter(None, words):
        await _forget_strangers(session, shop_id, word)


async def erase_customers(session: AsyncSession, shop_id: int, *, at_most: int) -> bool:
    """Erase that many customers of the shop; True when there are more."""
    rest = select(Customer.id).where(Customer.shop_id == shop_id, Customer.erased_at.is_(None))
    ids = (await session.scalars(rest.order_by(Customer.id).limit(at_most).with_for_update())).all()
    await _erase(session, shop_id, ids)
    await session.execute(delete(IdempotencyKey).where(IdempotencyKey.shop_id == shop_id))
    return len(ids) == at_most


async def _erase(session: AsyncSession, shop_id: int, customer_ids: Sequence[str]) -> None:
    # Their names are the client's, and may hold anything. An erased customer buys nothing, so none is needed again.
    keys = (IdempotencyKey.shop_id == shop_id, IdempotencyKey.customer_id.in_(customer_ids))
    await session.execute(delete(IdempotencyKey).where(*keys))
    await forget_stale(session, shop_id, customer_ids)
    for table, mine in _rows_of(shop_id, customer_ids):
        blank = {column.name: column.info["erased"] for column in table.columns if "erased" in column.info}
        if blank:
            await session.execute(update(table).where(mine).values(blank))
    untold = (
        Delivery.status.in_(["pending", "failed"]),
        Delivery.redemption_id.in_(_redemptions(shop_id, customer_ids)),
    )
    skipped = update(Delivery).where(*untold).values(status="skipped", last_error="the customer was erased")
    await session.execute(skipped)
    who = (Customer.shop_id == shop_id, Customer.id.in_(customer_ids))
    await session.execute(update(Customer).where(*who).values(excluded=True, erased_at=func.now()))


async def _forget_strangers(session: AsyncSession, shop_id: int, word: str) -> None:
    """Delete answers that name somebody who was no customer yet when they asked."""
    named = func.lower(IdempotencyKey.key + " " + func.coalesce(IdempotencyKey.body, ""))
    strangers = (IdempotencyKey.shop_id == shop_id, IdempotencyKey.customer_id.is_(None))
    await session.execute(delete(IdempotencyKey).where(*strangers, func.strpos(named, word.lower()) > 0))


def _redemptions(shop_id: int, customer_ids: Sequence[str]) -> Any:
    return select(Redemption.id).where(Redemption.shop_id == shop_id, Redemption.customer_id.in_(customer_ids))


def _rows_of(shop_id: int, customer_ids: Sequence[str]) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Every table that is about customers, and which of its rows are about these. A new table joins by itself."""
    for table in Base.metadata.sorted_tables:
        columns = table.columns
        if table is Customer.__table__:
            yield table, (columns["shop_id"] == shop_id) & columns["id"].in_(customer_ids)
        elif "customer_id" in columns:
            yield table, (columns["shop_id"] == shop_id) & columns["customer_id"].in_(customer_ids)
        elif "redemption_id" in columns:
            yield table, columns["redemption_id"].in_(_redemptions(shop_id, customer_ids))
