"""Queries about customers: their points and tiers as a client sees them, lists of them, and changes to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db import points, transactions
from db.lists import Page, rows_of
from db.metafields import mark_stale
from db.tables import ADDRESS_PARTS, Customer, Shop, VipTier

LETTERS_INDEXED = 3
"""In a row; what `address_parts` in the database cuts addresses into."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A customer with the points they can spend, when they next lose some, and their tier."""

    customer: Customer
    balance: int
    next_expiry: datetime | None
    tier: VipTier | None


async def profiles(session: AsyncSession, shop_id: int, rows: Sequence[Customer]) -> list[Profile]:
    """These customers of one shop, in this order."""
    now = await transactions.now(session)
    standings = await points.standings(session, shop_id, [row.id for row in rows], now=now)
    tiers = {tier.id: tier for tier in await session.scalars(select(VipTier).where(VipTier.shop_id == shop_id))}
    return [_profile(row, *standings.get(row.id, (0, None)), tiers) for row in rows]


def _profile(row: Customer, balance: int, next_expiry: datetime | None, tiers: dict[str, VipTier]) -> Profile:
    tier = tiers[row.vip_tier_id] if row.vip_tier_id else None
    return Profile(customer=row, balance=balance, next_expiry=next_expiry, tier=tier)


async def page_of_customers(
    session: AsyncSession, shop_id: int, page: Page, *, email: str | None, excluded: bool | None
) -> tuple[list[Customer], int]:
    """One page of the shop's customers, and how many there are. `email` is any part of the address, in any case."""
    values = [False, True] if excluded is None else [excluded]
    found: list[ColumnElement[bool]] = []
    if email is None:
        total = await _count(session, shop_id, excluded)
    else:
        found = _with_address(shop_id, email)
        total = await _matching(session, shop_id, *found, Customer.excluded.in_(values))
    rows = await rows_of(
        session, Customer, shop_id, *found, grouped_by=Customer.excluded, values=values, page=page, total=total
    )
    return rows, total


def _with_address(shop_id: int, part: str) -> list[ColumnElement[bool]]:
    has_part = func.lower(Customer.email).contains(part.lower(), autoescape=True)
    if len(part) < LETTERS_INDEXED:
        # Hardly an address is without it: they are all read.
        return [has_part]
    return [ADDRESS_PARTS.contains(func.address_parts(shop_id, part)), has_part]


async def _count(session: AsyncSession, shop_id: int, excluded: bool | None) -> int:
    """Members are many and counted by the import; the excluded are few and counted here."""
    everybody = (await session.execute(select(Shop.customers).where(Shop.id == shop_id))).scalar_one()
    if excluded is None:
        return everybody
    out = await _matching(session, shop_id, Customer.excluded.is_(True))
    return out if excluded else everybody - out


async def _matching(session: AsyncSession, shop_id: int, *conditions: ColumnElement[bool]) -> int:
    query = select(func.count()).where(Customer.shop_id == shop_id, *conditions)
    return (await session.execute(query)).scalar_one()


async def change(session: AsyncSession, customer: Customer, changes: Mapping[str, object]) -> None:
    """Give columns of a locked customer new values."""
    for column, value in changes.items():
        setattr(customer, column, value)
    await state_changed(session, customer)


async def state_changed(session: AsyncSession, customer: Customer) -> None:
    """Write a locked customer whose points or standing have changed, and have the shop's theme told of it."""
    customer.updated_at = await transactions.now(session)
    await mark_stale(session, customer.shop_id, customer.id)
    await session.flush()
    await session.refresh(customer)


async def find_customer(
    session: AsyncSession, shop_id: int, identifier: str, *, locked: bool = False
) -> Customer | None:
    """A customer by Shopify id or by e-mail address (in any case); `locked` as by `lock_customer`."""
    by_email = func.lower(Customer.email) == identifier.lower()
    query = select(Customer).where(
        Customer.shop_id == shop_id, by_email if "@" in identifier else Customer.id == identifier
    )
    query = query.with_for_update() if locked else query
    return (await session.execute(query)).scalar_one_or_none()


async def lock_customer(
    session: AsyncSession, shop_id: int, customer_id: str, *, if_free: bool = False
) -> Customer | None:
    """The customer, locked until the transaction ends. Taken first by everything that moves points.

    With `if_free`, None too when somebody else is busy with the customer: for what can as well be done later.
    """
    query = select(Customer).where(Customer.shop_id == shop_id, Customer.id == customer_id)
    return (await session.execute(query.with_for_update(skip_locked=if_free))).scalar_one_or_none()
