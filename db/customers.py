"""Queries about customers: look-up, locking, lists with points and tiers, and changes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from db import points, transactions
from db.activity_log import log_customer
from db.lists import Page, rows_of
from db.metafields import mark_stale
from db.tables import ADDRESS_PARTS, Customer, Shop, VipTier
from domain.activity_log import ActivityKind
from domain.addresses import address_key
from domain.events import Contact, CustomerState

TRIGRAM_LENGTH = 3
"""Length of the parts that the database function `address_parts` indexes."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A customer with spendable points, the next expiry of some of them, and VIP tier."""

    customer: Customer
    balance: int
    next_expiry: datetime | None
    tier: VipTier | None


async def find_customer(
    session: AsyncSession, shop_id: int, identifier: str, *, locked: bool = False
) -> Customer | None:
    """A customer by Shopify id or by e-mail address (in any case), locked on request."""
    by_email = Customer.email_key == address_key(identifier)
    query = select(Customer).where(
        Customer.shop_id == shop_id, by_email if "@" in identifier else Customer.id == identifier
    )
    query = query.with_for_update() if locked else query
    return (await session.execute(query)).scalar_one_or_none()


async def find_member(session: AsyncSession, shop_id: int, identifier: str, *, locked: bool = False) -> Customer | None:
    """Whose points a purchase for this customer spends: those of the customer, or of the survivor of their merges.

    Locked on request, which cannot deadlock, as with `hold_customer`.
    """
    customer = await find_customer(session, shop_id, identifier, locked=locked)
    if customer is None or customer.merged_into is None:
        return customer
    return await find_member(session, shop_id, customer.merged_into, locked=locked)


async def owners_of_addresses(session: AsyncSession, shop_id: int, keys: Collection[str]) -> dict[str, str]:
    """Key of an e-mail address → id of the customer who has it, of these keys."""
    query = select(Customer.email_key, Customer.id).where(Customer.shop_id == shop_id, Customer.email_key.in_(keys))
    return {key: customer_id for key, customer_id in await session.execute(query) if key is not None}


async def lock_customer(
    session: AsyncSession, shop_id: int, customer_id: str, *, skip_locked: bool = False
) -> Customer | None:
    """The customer, locked until the transaction ends. Everything that moves points takes this lock first.

    With `skip_locked`, None also if another transaction holds the lock: for work that can be done later.
    """
    query = select(Customer).where(Customer.shop_id == shop_id, Customer.id == customer_id)
    return (await session.execute(query.with_for_update(skip_locked=skip_locked))).scalar_one_or_none()


_HOLD = text("SELECT merged_into FROM customers WHERE shop_id = :shop_id AND id = :customer_id FOR UPDATE")


async def hold_customer(session: AsyncSession, shop_id: int, customer_id: str) -> str | None:
    """Lock the customer, like `lock_customer`, without reading the row. Returns the id, or None: there is none.

    A customer who was merged is locked together with the surviving one, whose id is returned. This cannot deadlock with
    a merge, which locks only customers who are not merged yet.
    """
    row = (await session.execute(_HOLD, {"shop_id": shop_id, "customer_id": customer_id})).one_or_none()
    if row is None:
        return None
    return customer_id if row.merged_into is None else await hold_customer(session, shop_id, row.merged_into)


_HOLD_CONTACT = text(
    "SELECT email, phone, merged_into FROM customers WHERE shop_id = :shop_id AND id = :customer_id FOR UPDATE"
)


async def hold_contact(session: AsyncSession, shop_id: int, customer_id: str) -> tuple[str, Contact]:
    """Lock the customer, who exists, like `hold_customer`. Returns the id of the one locked, and the contact data."""
    row = (await session.execute(_HOLD_CONTACT, {"shop_id": shop_id, "customer_id": customer_id})).one()
    if row.merged_into is not None:
        return await hold_contact(session, shop_id, row.merged_into)
    return customer_id, Contact(email=row.email, phone=row.phone)


_STATE = text(f"""
    SELECT c.lifetime_points, c.redeemed_points, t.name AS vip_tier,
           CASE WHEN c.excluded THEN 'excluded' ELSE 'member' END AS status,
           {points.balance_sql("c.shop_id", "c.id")} AS points_balance
    FROM customers c LEFT JOIN vip_tiers t ON (t.shop_id, t.id) = (c.shop_id, c.vip_tier_id)
    WHERE c.shop_id = :shop_id AND c.id = :customer_id AND c.erased_at IS NULL
""")


async def customer_state(session: AsyncSession, shop_id: int, customer_id: str) -> CustomerState | None:
    """The customer's state for the metafield. None: the customer is erased."""
    row = (await session.execute(_STATE, {"shop_id": shop_id, "customer_id": customer_id})).mappings().one_or_none()
    return None if row is None else CustomerState(**row)


async def profiles(session: AsyncSession, shop_id: int, rows: Sequence[Customer]) -> list[Profile]:
    """The profiles of these customers of one shop, in this order."""
    now = await transactions.now(session)
    balances = await points.balances(session, shop_id, [row.id for row in rows], now=now)
    tiers = {tier.id: tier for tier in await session.scalars(select(VipTier).where(VipTier.shop_id == shop_id))}
    return [_profile(row, *balances.get(row.id, (0, None)), tiers) for row in rows]


def _profile(row: Customer, balance: int, next_expiry: datetime | None, tiers: dict[str, VipTier]) -> Profile:
    tier = tiers[row.vip_tier_id] if row.vip_tier_id else None
    return Profile(customer=row, balance=balance, next_expiry=next_expiry, tier=tier)


async def page_of_customers(
    session: AsyncSession, shop_id: int, page: Page, *, email: str | None, excluded: bool | None
) -> tuple[list[Customer], int]:
    """One page of the shop's customers, and the total. `email`: any part of the address, in any case."""
    values = [False, True] if excluded is None else [excluded]
    conditions: list[ColumnElement[bool]] = []
    if email is None:
        total = await _count(session, shop_id, excluded)
    else:
        conditions = _has_address_part(shop_id, email)
        total = await _count_where(session, shop_id, *conditions, Customer.excluded.in_(values))
    ranges = [Customer.excluded == value for value in values]
    rows = await rows_of(session, Customer, shop_id, *conditions, ranges=ranges, page=page, total=total)
    return rows, total


def _has_address_part(shop_id: int, part: str) -> list[ColumnElement[bool]]:
    part = address_key(part)
    has_part = Customer.email_key.contains(part, autoescape=True)
    if len(part) < TRIGRAM_LENGTH:
        # Nearly every address contains it, so an index would not help.
        return [has_part]
    return [ADDRESS_PARTS.contains(func.address_parts(shop_id, part)), has_part]


async def _count(session: AsyncSession, shop_id: int, excluded: bool | None) -> int:
    """All customers are many and counted by the import; excluded ones are few and counted here."""
    everyone = (await session.execute(select(Shop.customers).where(Shop.id == shop_id))).scalar_one()
    if excluded is None:
        return everyone
    count = await _count_where(session, shop_id, Customer.excluded.is_(True))
    return count if excluded else everyone - count


async def _count_where(session: AsyncSession, shop_id: int, *conditions: ColumnElement[bool]) -> int:
    query = select(func.count()).where(Customer.shop_id == shop_id, *conditions)
    return (await session.execute(query)).scalar_one()


async def change(session: AsyncSession, customer: Customer, changes: Mapping[str, object], *, actor: str) -> None:
    """Set columns of a locked customer, and log which of them have changed."""
    changed = {column: value for column, value in changes.items() if getattr(customer, column) != value}
    for column, value in changed.items():
        setattr(customer, column, value)
    if Customer.excluded.key in changes:
        customer.excluded_by_account = False
    if changed:
        facts: dict[str, object] = {"actor": actor, "fields": sorted(changed)}
        facts |= {column: value for column, value in changed.items() if column == Customer.excluded.key}
        log_customer(session, customer.shop_id, customer.id, ActivityKind.CUSTOMER_UPDATED, facts)
    await write_change(session, customer)


async def write_change(session: AsyncSession, customer: Customer) -> None:
    """Write a locked customer after a change of points or status, and mark the metafield as stale."""
    customer.updated_at = await transactions.now(session)
    await mark_stale(session, customer.shop_id, customer.id)
    await session.flush()
    await session.refresh(customer)
