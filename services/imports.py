"""Write an import file to the database. Known ids are updated; known lots are not changed.

A shop is written in short transactions, so that its customers can buy meanwhile: first the shop with its tiers and
rewards, then its customers in batches. An interrupted import continues when it is repeated.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from database import Sessions
from db.api_keys import hash_key
from db.imports import (
    add_lots,
    count_new_customers,
    customers_by_id,
    discard_plans,
    write_customers,
)
from db.metafields import mark_all_stale, mark_members_stale
from db.shops import find_shop
from db.tables import ApiKey, Customer, Reward, Shop, VipTier
from db.vault import Vault
from domain.ids import new_earning_id
from domain.vendors import Vendor
from services.import_changes import Stored, errors_of
from services.import_format import (
    CustomerFields,
    ImportedCustomer,
    ImportedKey,
    ImportedReward,
    ImportedShop,
    ImportedTier,
    ImportFile,
    InvalidImport,
    secret_fields,
)

# Customers and lots of one transaction, which holds the customers' locks for about 0.2 s.
BATCH_SIZE = 500


@dataclass(frozen=True, kw_only=True)
class Imported:
    """Numbers of rewards and customers of a shop in the file, and of lots that were new."""

    domain: str
    rewards: int
    customers: int
    new_lots: int

    def __str__(self) -> str:
        return f"{self.domain}: {self.rewards} rewards, {self.customers} customers, {self.new_lots} new lots"


async def write_import(
    sessions: Sessions,
    vault: Vault,
    file: ImportFile,
    *,
    on_shop_imported: Callable[[Imported], None] = lambda _: None,
    on_customers_imported: Callable[[int], None] = lambda _: None,
) -> None:
    """Import shop by shop. Safe to repeat.

    `on_customers_imported` gets the size of each batch.

    Raises:
        InvalidImport: a part conflicts with data in the database. Nothing of that part was written, and nothing after
            it. The parts before it stay written.
    """
    for number, shop in enumerate(file.shops):
        async with _transaction(sessions, shop.domain) as session:
            shop_id = await _write_shop(session, vault, shop, f"$.shops[{number}]")
        await _mark_members(sessions, shop_id)
        new_lots = 0
        for batch in _batches(shop.customers):
            first, last = batch[0].shopify_customer_id, batch[-1].shopify_customer_id
            async with _transaction(sessions, f"{shop.domain}, customers {first} to {last}") as session:
                new_lots += await _write_customers(session, shop.domain, batch)
            on_customers_imported(len(batch))
        counts = {"rewards": len(shop.rewards), "customers": len(shop.customers), "new_lots": new_lots}
        on_shop_imported(Imported(domain=shop.domain, **counts))


@asynccontextmanager
async def _transaction(sessions: Sessions, part: str) -> AsyncGenerator[AsyncSession]:
    """A transaction. Raises `InvalidImport` for the part if it violates a constraint."""
    try:
        async with sessions.begin() as session:
            yield session
    except IntegrityError as error:
        constraint = getattr(error.orig.__cause__, "constraint_name", None) if error.orig else None
        raise InvalidImport(f"{part}: conflicts with data in the database ({constraint})") from None


async def _write_shop(session: AsyncSession, vault: Vault, imported: ImportedShop, path: str) -> int:
    """Write the shop, its keys, tiers and rewards. Returns the shop's id."""
    # One import writes to the shop at a time.
    known = await find_shop(session, imported.domain, locked=True)
    stored = await Stored.of(session, known)
    if errors := list(errors_of(path, imported, stored)):
        raise InvalidImport("\n".join(errors))
    shop = known or Shop(domain=imported.domain, credentials={})
    for column, value in imported.settings.items():
        setattr(shop, column, value)
    shop.credentials = _seal_credentials(vault, shop, imported)
    if imported.shopify and imported.shopify.names_webhook_secret:
        shop.webhook_secrets = [vault.seal_text(secret) for secret in imported.shopify.webhook_secret or ()]
    session.add(shop)
    await session.flush()
    await _write_keys(session, shop, imported)
    for tier in imported.vip_tiers:
        _write_tier(session, shop, tier, stored.tiers.get(tier.id))
    await session.flush()
    for reward in imported.rewards:
        write_reward(session, shop, reward, stored.rewards.get(reward.id))
    return shop.id


def _seal_credentials(vault: Vault, shop: Shop, imported: ImportedShop) -> dict[str, str]:
    """The shop's credentials with those that the file names, encrypted anew. Null removes a vendor's."""
    credentials = dict(shop.credentials)
    for vendor in Vendor:
        access = getattr(imported, vendor)
        if named := secret_fields(vendor, access):
            credentials[vendor] = vault.seal(named)
        elif access is None and vendor in imported.model_fields_set:
            credentials.pop(vendor, None)
    return credentials


async def _write_keys(session: AsyncSession, shop: Shop, imported: ImportedShop) -> None:
    for number, key in enumerate(imported.api_keys):
        key_hash = hash_key(key.key.get_secret_value())
        query = select(ApiKey).where(ApiKey.key_hash == key_hash)
        row = (await session.scalars(query)).one_or_none() or ApiKey(shop_id=shop.id, key_hash=key_hash)
        if row.shop_id != shop.id:
            raise InvalidImport(f"{shop.domain}: api_keys[{number}] is the key of another shop")
        _set_columns(session, row, key)


def _write_tier(session: AsyncSession, shop: Shop, imported: ImportedTier, known: VipTier | None) -> None:
    row = known or VipTier(shop_id=shop.id)
    if known is not None and imported.columns.get("name", known.name) != known.name:
        row.renamed_at = func.clock_timestamp()
    _set_columns(session, row, imported)


def write_reward(session: AsyncSession, shop: Shop, imported: ImportedReward, known: Reward | None) -> Reward:
    """Add the reward, or set the columns that are named. A deleted one is restored."""
    row = known or Reward(shop_id=shop.id)
    row.deleted_at = None
    _set_columns(session, row, imported)
    return row


def _set_columns(
    session: AsyncSession, row: ApiKey | VipTier | Reward, imported: ImportedKey | ImportedTier | ImportedReward
) -> None:
    for column, value in imported.columns.items():
        setattr(row, column, value)
    session.add(row)


async def _mark_members(sessions: Sessions, shop_id: int) -> None:
    """Mark the metafields of all members of renamed tiers as stale, also of tiers that an earlier import renamed."""
    renamed = (VipTier.shop_id == shop_id, VipTier.renamed_at.is_not(None))
    async with sessions() as session:
        tiers = (await session.scalars(select(VipTier).where(*renamed))).all()
    for tier in tiers:
        last: str | None = ""
        while last is not None:
            async with sessions.begin() as session:
                last = await mark_members_stale(session, shop_id, tier.id, after=last, limit=BATCH_SIZE)
        async with sessions() as session:
            this = (VipTier.shop_id == shop_id, VipTier.id == tier.id, VipTier.renamed_at == tier.renamed_at)
            await session.execute(update(VipTier).where(*this).values(renamed_at=None))


def _batches(customers: Sequence[ImportedCustomer]) -> Iterator[list[ImportedCustomer]]:
    """The customers in the order of the file. A batch is larger than `BATCH_SIZE` only for one customer's lots."""
    batch: list[ImportedCustomer] = []
    size = 0
    for customer in customers:
        weight = 1 + len(customer.lots)
        if batch and size + weight > BATCH_SIZE:
            yield batch
            batch, size = [], 0
        batch.append(customer)
        size += weight
    if batch:
        yield batch


async def _write_customers(session: AsyncSession, domain: str, batch: Sequence[ImportedCustomer]) -> int:
    """Write a batch of customers with their lots. Returns the number of new lots."""
    await discard_plans(session)
    shop = await find_shop(session, domain, locked=True)
    assert shop is not None, "the shop is written before its customers"
    known = await customers_by_id(session, shop.id, [one.shopify_customer_id for one in batch], locked=True)
    # An old file must not restore an erased customer, nor give a merged one the same points again.
    closed = {customer.id for customer in known.values() if customer.is_closed}
    members = [one for one in batch if one.shopify_customer_id not in closed]
    # The rows that were read do not change below.
    await write_customers(session, shop.id, [one.columns for one in members])
    enriched = await add_lots(session, shop.id, [lot for one in members for lot in _lots(one)])
    moved = [one.shopify_customer_id for one in members if has_moved(one, known.get(one.shopify_customer_id))]
    if enriched or moved:
        await mark_all_stale(session, shop.id, {*enriched, *moved})
    if new := len(batch) - len(known):
        await count_new_customers(session, shop.id, new)
    return len(enriched)


def _lots(customer: ImportedCustomer) -> Iterator[dict[str, object]]:
    for lot in customer.lots:
        ids = {"customer_id": customer.shopify_customer_id, "earning_id": new_earning_id()}
        yield {**ids, **lot.model_dump(mode="json")}


def has_moved(customer: CustomerFields, known: Customer | None) -> bool:
    """Whether this changes the customer's standing or tier, which are in the metafield."""
    before = {"excluded": known is not None and known.excluded, "vip_tier_id": known and known.vip_tier_id}
    return any(customer.columns.get(column, value) != value for column, value in before.items())
