"""Writing an imported shop: same ids update, lots that are known are left alone."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from database import Sessions
from db.api_keys import hash_key
from db.histories import new_earning_id
from db.metafields import mark_members_stale, mark_stale
from db.tables import ApiKey, Base, Customer, Earning, LedgerEntry, PointLot, Reward, Shop, VipTier
from db.vault import Vault
from services.import_format import (
    BadImport,
    ImportedCustomer,
    ImportedLot,
    ImportedReward,
    ImportedShop,
    ImportedTier,
    ImportFile,
)

# How a customer stands before anything is known of them.
_NEWCOMER = {"excluded": False, "vip_tier_id": None}


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What the file has of a shop, and how many of its lots were new."""

    domain: str
    rewards: int
    customers: int
    new_lots: int

    def __str__(self) -> str:
        """For people."""
        return f"{self.domain}: {self.rewards} rewards, {self.customers} customers, {self.new_lots} new lots"


async def write_import(sessions: Sessions, vault: Vault, file: ImportFile, *, tell: Callable[[Imported], None]) -> None:
    """Import shop by shop, each in one transaction; `tell` hears of each that is done.

    Raises:
        BadImport: a shop clashes with what is in the database; nothing of that shop was written.
    """
    for shop in file.shops:
        try:
            async with sessions.begin() as session:
                added = await _write_shop(session, vault, shop)
        except IntegrityError as error:
            constraint = getattr(error.orig.__cause__, "constraint_name", None) if error.orig else None
            raise BadImport(f"{shop.domain}: clashes with data that is there already ({constraint})") from None
        numbers = {"rewards": len(shop.rewards), "customers": len(shop.customers), "new_lots": added}
        tell(Imported(domain=shop.domain, **numbers))


async def _write_shop(session: AsyncSession, vault: Vault, imported: ImportedShop) -> int:
    # Locked, so that two imports of one shop come one after the other; others go on writing rows of the shop's.
    known = select(Shop).where(Shop.domain == imported.domain).with_for_update(key_share=True)
    shop = (await session.scalars(known)).one_or_none() or Shop()
    shop.domain, shop.name = imported.domain, imported.name
    shop.currency, shop.code_prefix = imported.currency, imported.code_prefix
    shop.credentials = _seal(vault, imported)
    session.add(shop)
    await session.flush()
    await _write_keys(session, shop, imported)
    for tier in imported.vip_tiers:
        await _write_tier(session, shop, tier)
    # Customers before rewards, as purchases lock them.
    added = sum([await _write_customer(session, shop, customer) for customer in imported.customers])
    for reward in imported.rewards:
        await _write_reward(session, shop, reward)
    members = select(func.count()).select_from(Customer).where(Customer.shop_id == shop.id)
    shop.customers = (await session.execute(members)).scalar_one()
    return added


def _seal(vault: Vault, imported: ImportedShop) -> dict[str, str]:
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
        digest = hash_key(key.key.get_secret_value())
        known = select(ApiKey).where(ApiKey.key_hash == digest)
        row = (await session.scalars(known)).one_or_none() or ApiKey(shop_id=shop.id, key_hash=digest)
        if row.shop_id != shop.id:
            raise BadImport(f"{shop.domain}: api_keys[{number}] is the key of another shop")
        row.scope, row.label = key.scope, key.label
        session.add(row)


async def _write_tier(session: AsyncSession, shop: Shop, imported: ImportedTier) -> None:
    known = await session.get(VipTier, (shop.id, imported.id))
    is_renamed = known is not None and known.name != imported.name
    await _upsert(session, VipTier, {"shop_id": shop.id, **imported.model_dump()})
    if is_renamed:
        await mark_members_stale(session, shop.id, imported.id)


async def _write_reward(session: AsyncSession, shop: Shop, imported: ImportedReward) -> None:
    values = imported.model_dump()
    values["vip_tier_id"] = values.pop("vip_tier")
    await _upsert(session, Reward, {"shop_id": shop.id, "deleted_at": None, **values})


async def _write_customer(session: AsyncSession, shop: Shop, imported: ImportedCustomer) -> int:
    # What the file does not name may have been set by the API, and stays.
    values = imported.model_dump(exclude={"lots"}, exclude_unset=True)
    values["id"] = values.pop("shopify_customer_id")
    if "vip_tier" in values:
        values["vip_tier_id"] = values.pop("vip_tier")
    known = await session.get(Customer, (shop.id, values["id"]), with_for_update=True)
    if known is not None and known.erased_at is not None:
        # An old file must not bring back who was erased.
        return 0
    standing = {"excluded": known.excluded, "vip_tier_id": known.vip_tier_id} if known else _NEWCOMER
    await _upsert(session, Customer, {"shop_id": shop.id, **values})
    added = await _add_lots(session, shop, values["id"], imported.lots)
    if added or any(values.get(column, was) != was for column, was in standing.items()):
        await mark_stale(session, shop.id, values["id"])
    return added


async def _add_lots(session: AsyncSession, shop: Shop, customer_id: str, imported: list[ImportedLot]) -> int:
    if not imported:
        return 0
    whose = {"shop_id": shop.id, "customer_id": customer_id}
    rows = [
        {**whose, **lot.model_dump(exclude={"id"}), "import_id": lot.id, "remaining": lot.points} for lot in imported
    ]
    # All at once: the totals that follow the ledger then move once.
    new = insert(PointLot).on_conflict_do_nothing().returning(PointLot)
    added = (await session.scalars(new, rows)).all()
    for lot in added:
        session.add(LedgerEntry(**whose, lot_id=lot.id, points=lot.points, lifetime_points=lot.points, kind="earn"))
        earned = {"action": "import", "points": lot.points, "created_at": lot.earned_at}
        session.add(Earning(id=new_earning_id(), **whose, lot_id=lot.id, **earned))
    return len(added)


async def _upsert(session: AsyncSession, table: type[Base], values: dict[str, object]) -> None:
    key = {column.name for column in table.__table__.primary_key}
    changed = {name: value for name, value in values.items() if name not in key} | {"updated_at": func.now()}
    statement = insert(table).values(values)
    await session.execute(statement.on_conflict_do_update(index_elements=sorted(key), set_=changed))
