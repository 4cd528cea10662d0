"""Write an import file to the database. Known ids are updated; known lots are not changed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from database import Sessions
from db.api_keys import hash_key
from db.metafields import mark_stale, mark_tier_stale
from db.tables import ApiKey, Base, Customer, Earning, LedgerEntry, PointLot, Reward, Shop, VipTier
from db.vault import Vault
from domain.addresses import address_key
from domain.ids import new_earning_id
from domain.points import EntryKind
from services.import_format import (
    ImportedCustomer,
    ImportedLot,
    ImportedReward,
    ImportedShop,
    ImportedTier,
    ImportFile,
    InvalidImport,
)


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
) -> None:
    """Import shop by shop, each in one transaction.

    Raises:
        InvalidImport: a shop conflicts with data in the database. Nothing of that shop was written.
    """
    for shop in file.shops:
        try:
            async with sessions.begin() as session:
                new_lots = await _write_shop(session, vault, shop)
        except IntegrityError as error:
            constraint = getattr(error.orig.__cause__, "constraint_name", None) if error.orig else None
            raise InvalidImport(f"{shop.domain}: conflicts with data in the database ({constraint})") from None
        counts = {"rewards": len(shop.rewards), "customers": len(shop.customers), "new_lots": new_lots}
        on_shop_imported(Imported(domain=shop.domain, **counts))


async def _write_shop(session: AsyncSession, vault: Vault, imported: ImportedShop) -> int:
    """Write a shop and everything that belongs to it. Returns the number of new lots."""
    # The lock serializes imports of one shop. Rows that reference the shop can still be inserted.
    query = select(Shop).where(Shop.domain == imported.domain).with_for_update(key_share=True)
    shop = (await session.scalars(query)).one_or_none() or Shop()
    shop.domain, shop.name = imported.domain, imported.name
    shop.currency, shop.code_prefix = imported.currency, imported.code_prefix
    if "release_grace_days" in imported.model_fields_set:
        shop.release_grace = timedelta(days=imported.release_grace_days)
    shop.credentials = _seal_credentials(vault, imported)
    if imported.shopify and "webhook_secret" in imported.shopify.model_fields_set:
        secrets = imported.shopify.webhook_secret or []
        shop.webhook_secrets = [vault.seal_text(secret) for secret in secrets]
    session.add(shop)
    await session.flush()
    await _write_keys(session, shop, imported)
    for tier in imported.vip_tiers:
        await _write_tier(session, shop, tier)
    # Customers before rewards: the order in which purchases lock them.
    new_lots = sum([await _write_customer(session, shop, customer) for customer in imported.customers])
    for reward in imported.rewards:
        await _write_reward(session, shop, reward)
    count = select(func.count()).select_from(Customer).where(Customer.shop_id == shop.id)
    shop.customers = (await session.execute(count)).scalar_one()
    return new_lots


def _seal_credentials(vault: Vault, imported: ImportedShop) -> dict[str, str]:
    credentials: dict[str, str] = {}
    if imported.shopify:
        credentials["shopify"] = vault.seal({"access_token": imported.shopify.access_token.get_secret_value()})
    for vendor in ("klaviyo", "omnisend", "postscript"):
        access = getattr(imported, vendor)
        if access:
            credentials[vendor] = vault.seal({"api_key": access.api_key.get_secret_value()})
    return credentials


async def _write_keys(session: AsyncSession, shop: Shop, imported: ImportedShop) -> None:
    for number, key in enumerate(imported.api_keys):
        key_hash = hash_key(key.key.get_secret_value())
        query = select(ApiKey).where(ApiKey.key_hash == key_hash)
        row = (await session.scalars(query)).one_or_none() or ApiKey(shop_id=shop.id, key_hash=key_hash)
        if row.shop_id != shop.id:
            raise InvalidImport(f"{shop.domain}: api_keys[{number}] is the key of another shop")
        row.scope, row.label = key.scope, key.label
        if "expires_at" in key.model_fields_set:
            row.expires_at = key.expires_at
        session.add(row)


async def _write_tier(session: AsyncSession, shop: Shop, imported: ImportedTier) -> None:
    known = await session.get(VipTier, (shop.id, imported.id))
    is_renamed = known is not None and known.name != imported.name
    await _upsert(session, VipTier, {"shop_id": shop.id, **imported.model_dump()})
    if is_renamed:
        await mark_tier_stale(session, shop.id, imported.id)


async def _write_reward(session: AsyncSession, shop: Shop, imported: ImportedReward) -> None:
    values = imported.model_dump()
    values["vip_tier_id"] = values.pop("vip_tier")
    await _upsert(session, Reward, {"shop_id": shop.id, "deleted_at": None, **values})


async def _write_customer(session: AsyncSession, shop: Shop, imported: ImportedCustomer) -> int:
    # Fields that the file leaves out keep their values: they may have been set through the API.
    values = imported.model_dump(exclude={"lots"}, exclude_unset=True)
    customer_id = values["id"] = values.pop("shopify_customer_id")
    if "vip_tier" in values:
        values["vip_tier_id"] = values.pop("vip_tier")
    if "email" in values:
        values["email_key"] = imported.email and address_key(imported.email)
    known = await session.get(Customer, (shop.id, customer_id), with_for_update=True)
    if known is not None and known.erased_at is not None:
        # An old file must not restore an erased customer.
        return 0
    before = {"excluded": known is not None and known.excluded, "vip_tier_id": known and known.vip_tier_id}
    await _upsert(session, Customer, {"shop_id": shop.id, **values})
    new_lots = await _write_lots(session, shop, customer_id, imported.lots)
    if new_lots or any(values.get(column, value) != value for column, value in before.items()):
        await mark_stale(session, shop.id, customer_id)
    return new_lots


async def _write_lots(session: AsyncSession, shop: Shop, customer_id: str, imported: list[ImportedLot]) -> int:
    if not imported:
        return 0
    ids = {"shop_id": shop.id, "customer_id": customer_id}
    rows = [{**ids, **lot.model_dump(exclude={"id"}), "import_id": lot.id, "remaining": lot.points} for lot in imported]
    # One statement, so that the totals, which triggers keep, are updated once.
    new = insert(PointLot).on_conflict_do_nothing().returning(PointLot)
    added = (await session.scalars(new, rows)).all()
    for lot in added:
        entry = {"points": lot.points, "lifetime_points": lot.points, "kind": EntryKind.EARN}
        session.add(LedgerEntry(**ids, lot_id=lot.id, **entry))
        earning = {"action": "import", "points": lot.points, "created_at": lot.earned_at}
        session.add(Earning(id=new_earning_id(), **ids, lot_id=lot.id, **earning))
    return len(added)


async def _upsert(session: AsyncSession, table: type[Base], values: dict[str, object]) -> None:
    key = {column.name for column in table.__table__.primary_key}
    changed = {name: value for name, value in values.items() if name not in key} | {"updated_at": func.now()}
    statement = insert(table).values(values)
    await session.execute(statement.on_conflict_do_update(index_elements=sorted(key), set_=changed))
