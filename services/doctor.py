"""What a shop lacks or has wrong, and how to mend it. Asks the vendors; changes nothing."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from cryptography.fernet import InvalidToken
from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from clients.outcomes import Refused, VendorError
from clients.shopify import Store
from clients.shopify_app import ShopifyApp
from clients.shopify_webhooks import Topic
from db.api_keys import list_keys
from db.tables import Reward, Shop
from db.vault import Vault
from domain.api_keys import KeyScope
from domain.vendors import Vendor
from services.credentials import Answer, VendorChecks

SCOPES = {
    "write_discounts": "generates discount codes",
    "read_discounts": "looks codes up when Shopify's answer was lost",
    "write_customers": "writes the loyalty metafield",
    "read_customers": "binds codes to customers, and receives customers' webhooks",
    "read_orders": "receives orders' webhooks, which mark codes as used",
    "read_products": "reads the price of free products",
    "read_customer_merge": "receives customers/merge",
}
"""Access scope → why it is needed. A `write_` scope includes its `read_` scope."""

WEBHOOK_PATH = "/webhooks/shopify"


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"
    """Works, but may not be what is wanted."""
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One thing that was checked. `mend`: what to do about it."""

    level: Level
    check: str
    detail: str
    mend: str | None = None


@dataclass(frozen=True, kw_only=True)
class Subscribed:
    """A topic after an attempt to subscribe. `error`: in Shopify's words."""

    topic: str
    is_new: bool = False
    error: str | None = None


TOPICS = {topic.in_graphql: topic for topic in Topic if topic.in_graphql}


@dataclass(frozen=True, kw_only=True)
class Doctor:
    vault: Vault
    checks: VendorChecks
    app: ShopifyApp
    app_secrets: int
    """Number of SHOPIFY_WEBHOOK_SECRETS."""
    vendor_urls: dict[str, str]
    """Setting → its URL."""

    async def examine(self, session: AsyncSession, shop: Shop) -> list[Diagnosis]:
        """Every check of the shop."""
        found = [*self._settings(), *self._secrets(shop)]
        found += [one async for one in self._vendors(shop)]
        found += [one async for one in self._shopify(shop)]
        return found + [one async for one in _offers(session, shop)]

    async def subscribe(self, shop: Shop, url: str) -> list[Subscribed]:
        """Subscribe the app to every topic that is processed, unless it is. Raises `VendorError`."""
        store, uri = self._store(shop), url.rstrip("/") + WEBHOOK_PATH
        known = {one.topic for one in await self.app.webhook_subscriptions(store) if one.uri == uri}
        results = [Subscribed(topic=TOPICS[name]) for name in TOPICS if name in known]
        for name, topic in TOPICS.items():
            if name not in known:
                error = await self._subscribe(store, name, uri)
                results.append(Subscribed(topic=topic, is_new=error is None, error=error))
        return results

    async def _subscribe(self, store: Store, name: str, uri: str) -> str | None:
        try:
            return await self.app.subscribe(store, name, uri)
        except Refused as error:
            return error.reason

    def _store(self, shop: Shop) -> Store:
        return Store(shop.domain, self.vault.open(shop, Vendor.SHOPIFY, Vendor.SHOPIFY.secret_field))

    def _settings(self) -> Iterable[Diagnosis]:
        if plain := [name for name, url in self.vendor_urls.items() if urlsplit(url).scheme != "https"]:
            detail = f"not https, so credentials and personal data are sent unencrypted: {', '.join(plain)}"
            yield Diagnosis(level=Level.NOTE, check="settings", detail=detail, mend="set them to https URLs")

    def _secrets(self, shop: Shop) -> Iterable[Diagnosis]:
        if not shop.webhook_secrets and not self.app_secrets:
            yield Diagnosis(
                level=Level.PROBLEM,
                check="webhook secret",
                detail="unset: every webhook of this shop is refused",
                mend=f"pointsaga credentials set {shop.domain} webhook_secret",
            )
            return
        if not all(self._opens(secret) for secret in shop.webhook_secrets):
            yield _undecryptable(shop, "webhook_secret")
            return
        whose = "of the shop" if shop.webhook_secrets else "of the app, SHOPIFY_WEBHOOK_SECRETS"
        yield Diagnosis(level=Level.OK, check="webhook secret", detail=whose)

    def _opens(self, sealed: str) -> bool:
        try:
            self.vault.open_text(sealed)
        except InvalidToken:
            return False
        return True

    async def _vendors(self, shop: Shop) -> AsyncIterator[Diagnosis]:
        for vendor in Vendor:
            mend = f"pointsaga credentials set {shop.domain} {vendor}"
            if vendor not in shop.credentials:
                is_needed = vendor is Vendor.SHOPIFY
                level = Level.PROBLEM if is_needed else Level.NOTE
                detail = "unset: no purchase is possible" if is_needed else "unset: it gets no events"
                yield Diagnosis(level=level, check=vendor, detail=detail, mend=mend)
                continue
            try:
                secret = self.vault.open(shop, vendor, vendor.secret_field)
            except InvalidToken:
                yield _undecryptable(shop, vendor)
                continue
            yield await self._vendor(shop, vendor, secret, mend)

    async def _vendor(self, shop: Shop, vendor: Vendor, secret: SecretStr, mend: str) -> Diagnosis:
        answer = await self.checks.check(shop.domain, vendor, secret)
        match answer.answer:
            case Answer.ACCEPTED:
                return Diagnosis(level=Level.OK, check=vendor, detail="accepts the credentials")
            case Answer.REFUSED:
                detail = f"refuses the credentials: {answer.reason}"
                return Diagnosis(level=Level.PROBLEM, check=vendor, detail=detail, mend=mend)
            case Answer.UNKNOWN:
                detail = f"cannot be reached: {answer.reason}"
                mend = "check the network and the vendor's status page, then repeat"
                return Diagnosis(level=Level.PROBLEM, check=vendor, detail=detail, mend=mend)

    async def _shopify(self, shop: Shop) -> AsyncIterator[Diagnosis]:
        try:
            store = self._store(shop)
            scopes = await self.app.access_scopes(store)
            subscriptions = await self.app.webhook_subscriptions(store)
        except (KeyError, InvalidToken, VendorError):
            # Reported above.
            return
        granted = scopes | {scope.replace("write_", "read_") for scope in scopes if scope.startswith("write_")}
        for scope, purpose in SCOPES.items():
            if scope not in granted:
                mend = "add the scope to the app, install it again, and set its new token"
                detail = f"{scope} is missing: it {purpose}"
                yield Diagnosis(level=Level.PROBLEM, check="scopes", detail=detail, mend=mend)
        if granted >= SCOPES.keys():
            yield Diagnosis(level=Level.OK, check="scopes", detail=f"all {len(SCOPES)}")
        ours = {one.topic: one.uri for one in subscriptions if one.uri.endswith(WEBHOOK_PATH)}
        mend = f"pointsaga shopify subscribe {shop.domain} --url https://…"
        if missing := [TOPICS[name] for name in TOPICS if name not in ours]:
            detail = f"not subscribed: {', '.join(missing)}"
            yield Diagnosis(level=Level.PROBLEM, check="webhooks", detail=detail, mend=mend)
        if len(addresses := sorted(set(ours.values()))) > 1:
            detail = f"the topics have different addresses: {', '.join(addresses)}"
            yield Diagnosis(level=Level.NOTE, check="webhooks", detail=detail, mend="delete the old ones at Shopify")
        elif ours.keys() >= TOPICS.keys():
            yield Diagnosis(level=Level.OK, check="webhooks", detail=f"all {len(TOPICS)} topics, at {addresses[0]}")


def _undecryptable(shop: Shop, name: str) -> Diagnosis:
    mend = f"add the old key to ENCRYPTION_KEYS, or: pointsaga credentials set {shop.domain} {name}"
    detail = "none of ENCRYPTION_KEYS decrypts it"
    return Diagnosis(level=Level.PROBLEM, check=name.replace("_", " "), detail=detail, mend=mend)


async def _offers(session: AsyncSession, shop: Shop) -> AsyncIterator[Diagnosis]:
    """Whether there is something to buy, and a key to buy it with."""
    mine = (Reward.shop_id == shop.id, Reward.is_active, Reward.deleted_at.is_(None))
    rewards = (await session.execute(select(func.count()).select_from(Reward).where(*mine))).scalar_one()
    level = Level.OK if rewards else Level.NOTE
    mend = None if rewards else f"pointsaga rewards create --shop {shop.domain} …"
    yield Diagnosis(level=level, check="rewards", detail=f"{rewards} active", mend=mend)
    keys = [key for key in await list_keys(session, shop) if key.revoked_at is None and KeyScope(key.scope).can_write]
    level = Level.OK if keys else Level.NOTE
    mend = None if keys else f"pointsaga keys create --shop {shop.domain} --scope full --label …"
    yield Diagnosis(level=level, check="API keys", detail=f"{len(keys)} that can redeem", mend=mend)
