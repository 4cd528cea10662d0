"""Create shops and change their settings: validated like an import, and logged with their actor."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from db.activity_log import log_shop
from db.shops import find_shop, lock_shop
from db.tables import Shop
from domain.activity_log import ActivityKind
from domain.vendors import SecretName, Vendor
from services.import_changes import DoesNotFit, Stored, check_fit
from services.import_format import ImportedShop, ShopSettings


async def create_shop(session: AsyncSession, new: ImportedShop, *, actor: str) -> Shop:
    """Add a shop without credentials. Raises `DoesNotFit`, also if there is a shop with this domain."""
    check_fit(new, Stored(shop=None, tiers={}, rewards={}))
    if await find_shop(session, new.domain) is not None:
        raise DoesNotFit(f"there is a shop {new.domain} already", field="domain")
    shop = Shop(domain=new.domain, credentials={}, **new.settings)
    session.add(shop)
    await _write(session, shop, ActivityKind.SHOP_CREATED, actor=actor)
    return shop


async def change_shop(session: AsyncSession, shop_id: int, settings: ShopSettings, *, actor: str) -> Shop:
    """Set the named settings. Raises `DoesNotFit`."""
    shop = await lock_shop(session, shop_id)
    named = settings.model_dump(include=set(ShopSettings.model_fields), exclude_unset=True)
    check_fit(ImportedShop.model_validate({**named, "domain": shop.domain}), await Stored.of(session, shop))
    changed = {name: value for name, value in settings.settings.items() if getattr(shop, name) != value}
    for name, value in changed.items():
        setattr(shop, name, value)
    if changed:
        await _write(session, shop, ActivityKind.SHOP_UPDATED, actor=actor, fields=sorted(changed))
    return shop


def credentials_of(shop: Shop) -> dict[str, bool]:
    """Whether each vendor's credentials, and the secret that signs the shop's webhooks, are set."""
    vendors = {str(vendor): vendor in shop.credentials for vendor in Vendor}
    return {**vendors, SecretName.WEBHOOK_SECRET.value: bool(shop.webhook_secrets)}


async def _write(session: AsyncSession, shop: Shop, kind: ActivityKind, *, actor: str, **more: Any) -> None:
    await session.flush()
    await session.refresh(shop)
    log_shop(session, shop.id, kind, {"actor": actor, **more})
