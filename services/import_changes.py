"""What importing a file would change, and what prevents it. Reads only."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Self

from cryptography.fernet import InvalidToken
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from database import Sessions
from db.api_keys import hash_key
from db.imports import customers_by_id, imported_lots, rewards_by_id, tiers_by_id
from db.shops import find_shop
from db.tables import ApiKey, Base, Reward, Shop, VipTier
from db.vault import Vault
from domain.discounts import DiscountType
from domain.money import decimals_of, is_exact
from domain.vendors import Vendor
from services.import_format import (
    ImportedCustomer,
    ImportedReward,
    ImportedShop,
    ImportedTier,
    ImportFile,
    InvalidImport,
    ShopifyAccess,
    secret_fields,
)
from services.reward_format import CHECKED_COLUMNS, reward_error

_CUSTOMERS_PER_QUERY = 1_000


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change in words. `needs_confirmation`: it stops deliveries or purchases, or gives amounts another meaning."""

    text: str
    needs_confirmation: bool = False


@dataclass(frozen=True, kw_only=True)
class ShopChanges:
    domain: str
    changes: list[Change]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What is known of a shop. `shop` is None for a new one."""

    shop: Shop | None
    tiers: dict[str, VipTier]
    rewards: dict[str, Reward]

    @classmethod
    async def of(cls, session: AsyncSession, shop: Shop | None) -> Self:
        """Read the shop's tiers and rewards."""
        if shop is None:
            return cls(shop=None, tiers={}, rewards={})
        tiers, rewards = await tiers_by_id(session, shop.id), await rewards_by_id(session, shop.id)
        return cls(shop=shop, tiers=tiers, rewards=rewards)


class DoesNotFit(Exception):
    """A reward, a customer or a setting does not fit what is stored. `field`: the one that is wrong, if it is known."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


def check_fit(imported: ImportedShop, stored: Stored) -> None:
    """Validate a shop's settings, or one reward, as an import does. Raises `DoesNotFit`."""
    for error in errors_of("$", imported, stored):
        match = re.fullmatch(r"\$(?:\.rewards\[0\])?(?:\.(\w+))?: (.*)", error)
        assert match is not None, error
        raise DoesNotFit(match[2], field=match[1])


async def compare_import(sessions: Sessions, vault: Vault, file: ImportFile) -> list[ShopChanges]:
    """What the import would change, shop by shop.

    Raises:
        InvalidImport: the file does not fit what is stored.
    """
    async with sessions.snapshot() as session:
        stored = [await Stored.of(session, await find_shop(session, shop.domain)) for shop in file.shops]
        errors = [
            error
            for number, (shop, known) in enumerate(zip(file.shops, stored, strict=True))
            for error in errors_of(f"$.shops[{number}]", shop, known)
        ]
        if errors:
            raise InvalidImport("\n".join(errors))
        return [
            ShopChanges(domain=shop.domain, changes=await _changes(session, vault, shop, known))
            for shop, known in zip(file.shops, stored, strict=True)
        ]


def errors_of(path: str, imported: ImportedShop, stored: Stored) -> Iterator[str]:
    """What a new row lacks, and what does not fit stored rows. `path`: the shop's JSON path."""
    if stored.shop is None:
        yield from _missing(path, imported)
    for number, tier in enumerate(imported.vip_tiers):
        if tier.id not in stored.tiers:
            yield from _missing(f"{path}.vip_tiers[{number}]", tier)
    for number, reward in enumerate(imported.rewards):
        yield from _reward_errors(f"{path}.rewards[{number}]", reward, stored.rewards.get(reward.id))
    yield from _currency_errors(path, imported, stored)
    tiers = {None, *stored.tiers, *(tier.id for tier in imported.vip_tiers)}
    for kind, members in (("rewards", imported.rewards), ("customers", imported.customers)):
        for number, member in enumerate(members):
            if member.vip_tier not in tiers:
                yield f"{path}.{kind}[{number}].vip_tier: the shop has no VIP tier '{member.vip_tier}'"


def _missing(path: str, part: ImportedShop | ImportedTier | ImportedReward) -> Iterator[str]:
    for name in part.missing:
        yield f"{path}.{name}: Field required, as this is new"


def _reward_errors(path: str, imported: ImportedReward, known: Reward | None) -> Iterator[str]:
    if known is None and imported.missing:
        yield from _missing(path, imported)
        return
    if error := reward_error(_checked(known) | imported.columns):
        yield f"{path}: {error}"


def _checked(reward: Reward | None) -> dict[str, Any]:
    return {name: getattr(reward, name, None) for name in CHECKED_COLUMNS}


def _currency_errors(path: str, imported: ImportedShop, stored: Stored) -> Iterator[str]:
    """Amounts that the shop's currency cannot express. The file can change it without naming the rewards."""
    currency = imported.settings.get("currency", stored.shop and stored.shop.currency)
    if currency is None:
        return
    for number, reward in enumerate(imported.rewards):
        discount = _checked(stored.rewards.get(reward.id)) | reward.columns
        yield from _inexact_amounts(f"{path}.rewards[{number}]", discount, currency)
    named = {reward.id for reward in imported.rewards}
    for reward in stored.rewards.values():
        if reward.id not in named and reward.deleted_at is None:
            yield from _inexact_amounts(f"{path}.currency: {reward.id}", _checked(reward), currency)


def _inexact_amounts(path: str, discount: Mapping[str, Any], currency: str) -> Iterator[str]:
    amounts: dict[str, Decimal | None] = {
        name: discount[name] for name in ("minimum_spend", "value_per_step", "max_value")
    }
    if discount["discount_type"] == DiscountType.FIXED_AMOUNT:
        amounts["discount_amount"] = discount["discount_amount"]
    for field, amount in amounts.items():
        if amount is not None and not is_exact(amount, currency):
            yield f"{path}.{field}: {amount} has more than the {decimals_of(currency)} decimals of {currency}"


async def _changes(session: AsyncSession, vault: Vault, imported: ImportedShop, stored: Stored) -> list[Change]:
    changes = [
        *_setting_changes(imported, stored.shop),
        *credential_changes(vault, imported, stored.shop),
        *await _key_changes(session, imported),
        *_row_changes("vip_tiers", imported.vip_tiers, stored.tiers),
        *_row_changes("rewards", imported.rewards, stored.rewards),
    ]
    return changes + await _customer_changes(session, imported, stored.shop)


def _setting_changes(imported: ImportedShop, shop: Shop | None) -> Iterator[Change]:
    if shop is None:
        yield Change(text="new shop")
        return
    for name, values in _differences(shop, imported.settings):
        yield Change(text=f"{name}: {values}", needs_confirmation=name == "currency")


def credential_changes(vault: Vault, imported: ImportedShop, shop: Shop | None) -> Iterator[Change]:
    """Changes of vendors' credentials. Secrets are not shown."""
    for vendor in Vendor:
        is_known = shop is not None and vendor in shop.credentials
        access = getattr(imported, vendor)
        if access is None and is_known and vendor in imported.model_fields_set:
            yield Change(text=f"{vendor}: credentials removed", needs_confirmation=True)
        elif access is not None:
            known = vault.open_all(shop, vendor) if shop is not None else {}
            if not secret_fields(vendor, access).items() <= known.items():
                yield Change(text=f"{vendor}: credentials {'replaced' if is_known else 'set'}")
    if imported.shopify and imported.shopify.names_webhook_secret:
        yield from _webhook_secret_changes(vault, imported.shopify, shop.webhook_secrets if shop else [])


def _webhook_secret_changes(vault: Vault, access: ShopifyAccess, sealed: Sequence[str]) -> Iterator[Change]:
    if not access.webhook_secret and sealed:
        yield Change(text="shopify: webhook secret removed", needs_confirmation=True)
    elif access.webhook_secret and access.webhook_secret != _opened(vault, sealed):
        yield Change(text=f"shopify: webhook secret {'replaced' if sealed else 'set'}")


def _opened(vault: Vault, sealed: Sequence[str]) -> list[SecretStr] | None:
    """None: no key decrypts them."""
    try:
        return [vault.open_text(one) for one in sealed]
    except InvalidToken:
        return None


async def _key_changes(session: AsyncSession, imported: ImportedShop) -> list[Change]:
    hashes = [hash_key(key.key.get_secret_value()) for key in imported.api_keys]
    rows = await session.scalars(select(ApiKey).where(ApiKey.key_hash.in_(hashes)))
    known = {row.key_hash: row for row in rows}
    new = sum(key_hash not in known for key_hash in hashes)
    keys = zip(hashes, imported.api_keys, strict=True)
    changed = sum(bool(_differences(known[key_hash], key.columns)) for key_hash, key in keys if key_hash in known)
    counted = {"new": new, "changed": changed}
    return [Change(text=f"api_keys: {number} {what}") for what, number in counted.items() if number]


def _row_changes(
    kind: str, parts: Sequence[ImportedTier | ImportedReward], stored: dict[str, VipTier] | dict[str, Reward]
) -> Iterator[Change]:
    if new := [part.id for part in parts if part.id not in stored]:
        yield Change(text=f"{kind}: {len(new)} new ({_join_some(new)})")
    for part in parts:
        known = stored.get(part.id)
        if known is not None and (differences := _differences(known, part.columns)):
            yield Change(text=f"{kind} {part.id}: " + ", ".join(" ".join(one) for one in differences))


async def _customer_changes(session: AsyncSession, imported: ImportedShop, shop: Shop | None) -> list[Change]:
    counts = _CustomerCounts()
    for start in range(0, len(imported.customers), _CUSTOMERS_PER_QUERY):
        await counts.add(session, shop, imported.customers[start : start + _CUSTOMERS_PER_QUERY])
    return counts.changes


@dataclass
class _CustomerCounts:
    new: int = 0
    changed: int = 0
    closed: int = 0
    lots: int = 0
    points: int = 0

    async def add(self, session: AsyncSession, shop: Shop | None, customers: Sequence[ImportedCustomer]) -> None:
        """Count some customers of the file."""
        ids = [customer.shopify_customer_id for customer in customers]
        known = await customers_by_id(session, shop.id, ids) if shop else {}
        lots = await imported_lots(session, shop.id, ids) if shop else set[tuple[str, str]]()
        for customer in customers:
            row = known.get(customer.shopify_customer_id)
            if row is not None and row.is_closed:
                self.closed += 1
                continue
            self.new += row is None
            self.changed += row is not None and bool(_differences(row, customer.columns))
            added = [lot.points for lot in customer.lots if (customer.shopify_customer_id, lot.id) not in lots]
            self.lots += len(added)
            self.points += sum(added)

    @property
    def changes(self) -> list[Change]:
        counted = {
            "customers: {} new": self.new,
            "customers: {} changed": self.changed,
            "customers: {} erased or merged, not imported": self.closed,
            f"lots: {{}} new, with {self.points} points": self.lots,
        }
        return [Change(text=text.format(number)) for text, number in counted.items() if number]


def _differences(row: Base, columns: dict[str, Any]) -> list[tuple[str, str]]:
    """Each column with a different stored value, with both values in words."""
    return [
        (name, f"{_shown(getattr(row, name))} → {_shown(value)}")
        for name, value in columns.items()
        if getattr(row, name) != value
    ]


def _shown(value: object) -> str:
    if isinstance(value, timedelta):
        return f"{value.days} days"
    return "none" if value is None else str(value)


def _join_some(ids: Sequence[str], at_most: int = 5) -> str:
    more = f" and {len(ids) - at_most} more" if len(ids) > at_most else ""
    return ", ".join(ids[:at_most]) + more
