"""Personal data of customers: updates from Shopify, export and erasure. `db.tables` marks the personal columns."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, Table, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.activity_log import log_customer
from db.customers import lock_customer
from db.deliveries import ERASED, skip_unsent
from db.imports import count_new_customers
from db.metafields import delete_stale
from db.pruning import delete_batch
from db.shops import hold_shop
from db.tables import Base, Customer, Delivery, IdempotencyKey, Redemption
from domain.activity_log import ActivityKind
from domain.addresses import address_key

# Batch size: one takes about 100 ms.
KEYS_PER_BATCH = 5000


async def update_profile(
    session: AsyncSession, shop_id: int, customer_id: str, changes: Mapping[str, str | None], *, as_of: datetime
) -> None:
    """Apply Shopify's profile of a known customer, unless a newer one was applied or the customer is erased."""
    email = changes.get("email") or None
    customer, owner = await _lock_with_owner(session, shop_id, customer_id, email)
    if customer is None or customer.is_closed or (customer.profile_as_of or as_of) > as_of:
        return
    is_taken = owner is not None and not await _free_email(session, owner, as_of)
    for field, value in changes.items():
        setattr(customer, field, None if field == "email" and is_taken else value or None)
    customer.profile_as_of = as_of


async def enroll_customer(session: AsyncSession, shop_id: int, customer_id: str, *, actor: str) -> None:
    """Add a customer without profile and points, unless the shop has one with this id."""
    if await session.get(Customer, (shop_id, customer_id)) is not None:
        return
    # The shop before its customers, as everywhere.
    await hold_shop(session, shop_id)
    if await session.get(Customer, (shop_id, customer_id)) is None:
        session.add(Customer(shop_id=shop_id, id=customer_id))
        await session.flush()
        log_customer(session, shop_id, customer_id, ActivityKind.CUSTOMER_CREATED, {"actor": actor})
        await count_new_customers(session, shop_id, 1)


async def _lock_with_owner(
    session: AsyncSession, shop_id: int, customer_id: str, email: str | None
) -> tuple[Customer | None, Customer | None]:
    """The customer, and another one who has this address. Both are locked, by id, as everything locks customers."""
    wanted = Customer.id == customer_id
    if email is not None:
        wanted |= Customer.email_key == address_key(email)
    query = select(Customer).where(Customer.shop_id == shop_id, wanted).order_by(Customer.id).with_for_update()
    found = {one.id: one for one in await session.scalars(query)}
    customer = found.pop(customer_id, None)
    return customer, next(iter(found.values()), None)


async def _free_email(session: AsyncSession, owner: Customer, as_of: datetime) -> bool:
    """Remove the address from its owner. False: the owner's profile is newer, and keeps it.

    Webhooks arrive out of order, so the previous owner may not have been updated yet.
    """
    if (owner.profile_as_of or as_of) > as_of:
        return False
    owner.email = None
    await session.flush()
    return True


async def export_customer(session: AsyncSession, shop_id: int, customer_id: str) -> dict[str, list[dict[str, Any]]]:
    """All stored data of a customer, by table: the answer to a data request."""
    data: dict[str, list[dict[str, Any]]] = {}
    for table, of_customer in _rows_of(shop_id, [customer_id]):
        readable = [column for column in table.columns if not isinstance(column.type, LargeBinary)]
        query = select(*readable).where(of_customer).order_by(*table.primary_key)
        data[table.name] = [dict(row) for row in (await session.execute(query)).mappings()]
    return data


async def erase_customer(
    session: AsyncSession, shop_id: int, customer_id: str | None, *, identifiers: Iterable[str | None] = ()
) -> None:
    """Erase the customer with this id, and stored answers that contain one of these e-mail addresses or phones."""
    identifiers = {*identifiers}
    customer = customer_id and await lock_customer(session, shop_id, customer_id)
    if customer:
        identifiers |= {customer.email, customer.phone}
        await _erase(session, shop_id, [customer.id])
    for identifier in filter(None, identifiers):
        await _delete_answers(session, shop_id, identifier)


async def erase_customers(session: AsyncSession, shop_id: int, *, limit: int) -> bool:
    """Erase up to `limit` customers of the shop, and some of its idempotency keys. True: there are more."""
    remaining = select(Customer.id).where(Customer.shop_id == shop_id, Customer.erased_at.is_(None))
    ids = (await session.scalars(remaining.order_by(Customer.id).limit(limit).with_for_update())).all()
    await _erase(session, shop_id, ids)
    keys = IdempotencyKey.shop_id == shop_id
    await delete_batch(session, IdempotencyKey, keys, limit=KEYS_PER_BATCH)
    return len(ids) == limit or bool(await session.scalar(select(exists().where(keys))))


async def _erase(session: AsyncSession, shop_id: int, customer_ids: Sequence[str]) -> None:
    # Clients choose the keys, so they can contain personal data. An erased customer cannot purchase, so none is needed.
    keys = (IdempotencyKey.shop_id == shop_id, IdempotencyKey.customer_id.in_(customer_ids))
    await session.execute(delete(IdempotencyKey).where(*keys))
    await delete_stale(session, shop_id, customer_ids)
    for table, of_customers in _rows_of(shop_id, customer_ids):
        blank = {column.name: column.info["erased"] for column in table.columns if "erased" in column.info}
        if blank:
            # Nothing that clients see has changed: an answer stays the same when its request is repeated.
            unchanged = {"updated_at": column} if (column := table.columns.get("updated_at")) is not None else {}
            await session.execute(update(table).where(of_customers).values({**blank, **unchanged}))
    redemptions = Delivery.redemption_id.in_(_redemption_ids(shop_id, customer_ids))
    await skip_unsent(session, redemptions, reason=ERASED)
    customers = (Customer.shop_id == shop_id, Customer.id.in_(customer_ids))
    await session.execute(update(Customer).where(*customers).values(excluded=True, erased_at=func.now()))


async def _delete_answers(session: AsyncSession, shop_id: int, identifier: str) -> None:
    """Delete stored answers that contain the identifier of someone who was not a customer at the time."""
    answers = (IdempotencyKey.shop_id == shop_id, IdempotencyKey.customer_id.is_(None))
    content = IdempotencyKey.key + " " + func.coalesce(IdempotencyKey.body, "")
    query = select(IdempotencyKey.key, content.label("content")).where(*answers, _resembles(content, identifier))
    found = [row.key for row in await session.execute(query) if address_key(identifier) in address_key(row.content)]
    await session.execute(delete(IdempotencyKey).where(*answers, IdempotencyKey.key.in_(found)))


def _resembles(content: ColumnElement[str], identifier: str) -> ColumnElement[bool]:
    """Whether the text can contain the identifier, written in any way: only its ASCII characters are compared."""
    parts = re.findall(r"[\x00-\x7f]+", address_key(identifier))
    escaped = [re.sub(r"([\\%_])", r"\\\1", part) for part in parts]
    return func.lower(content.collate("C")).like("%" + "%".join(escaped) + "%")


def _redemption_ids(shop_id: int, customer_ids: Sequence[str]) -> Any:
    return select(Redemption.id).where(Redemption.shop_id == shop_id, Redemption.customer_id.in_(customer_ids))


def _rows_of(shop_id: int, customer_ids: Sequence[str]) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Every table with data of customers, and the condition for the rows of these. New tables are included."""
    for table in Base.metadata.sorted_tables:
        columns = table.columns
        if table is Customer.__table__:
            yield table, (columns["shop_id"] == shop_id) & columns["id"].in_(customer_ids)
        elif "customer_id" in columns:
            yield table, (columns["shop_id"] == shop_id) & columns["customer_id"].in_(customer_ids)
        elif "redemption_id" in columns:
            yield table, columns["redemption_id"].in_(_redemption_ids(shop_id, customer_ids))
