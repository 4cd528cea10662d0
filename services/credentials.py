"""Vendors' credentials of shops: setting them, listing them, and asking the vendor."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from cryptography.fernet import InvalidToken
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.credentials import MISSING, UNREADABLE
from clients.marketing import MarketingClient
from clients.outcomes import Refused, VendorError
from clients.shopify import Shopify, Store
from db.activity_log import log_shop
from db.shops import find_shop
from db.tables import Shop
from db.vault import Vault
from db.vendor_answers import VendorAnswer, vendor_answers
from domain.activity_log import ActivityKind
from domain.channels import Channel
from domain.vendors import SecretName, Vendor

MAX_WEBHOOK_SECRETS = 2
"""One, and the one that it replaces."""


class Answer(StrEnum):
    """A vendor's answer to credentials. `UNKNOWN`: it could not be asked."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Check:
    answer: Answer
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class LastCall:
    """The vendor's answer to the worker's last call."""

    answer: Answer
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A vendor of a shop.

    Attributes:
        set_at: None if there are no credentials, or none of ENCRYPTION_KEYS decrypts them.
        last_call: None if there was none within a day since they were set.
        check: the answer to a call of this command.
    """

    shop: str
    vendor: Vendor
    is_set: bool
    set_at: datetime | None
    last_call: LastCall | None = None
    check: Check | None = None


@dataclass(frozen=True, kw_only=True)
class VendorChecks:
    """Asks vendors whether they accept credentials. Changes nothing there."""

    shopify: Shopify
    marketing: Mapping[Vendor, MarketingClient]

    async def checked(self, vault: Vault, shop: Shop, row: Listed) -> Listed:
        """The row with the vendor's answer, if the shop has credentials that can be decrypted."""
        if row.set_at is None:
            return row
        secret = vault.open(shop, row.vendor, row.vendor.secret_field)
        return replace(row, check=await self.check(shop.domain, row.vendor, secret))

    async def check(self, domain: str, vendor: Vendor, secret: SecretStr) -> Check:
        """Ask the vendor."""
        try:
            if vendor is Vendor.SHOPIFY:
                await self.shopify.check_token(Store(domain, secret))
            else:
                await self.marketing[vendor].check_key(secret)
        except VendorError as error:
            refused = isinstance(error, Refused)
            return Check(answer=Answer.REFUSED if refused else Answer.UNKNOWN, reason=error.reason)
        return Check(answer=Answer.ACCEPTED)


async def set_secret(
    session: AsyncSession, vault: Vault, domain: str, vendor: Vendor, secret: SecretStr, *, actor: str
) -> None:
    """Store the secret."""
    shop = await find_shop(session, domain, locked=True)
    assert shop is not None, "a shop is never deleted"
    sealed = vault.seal({vendor.secret_field: secret.get_secret_value()})
    shop.credentials = {**shop.credentials, vendor: sealed}
    log_shop(session, shop.id, ActivityKind.CREDENTIALS_SET, {"actor": actor, "vendor": vendor})


async def set_webhook_secrets(
    session: AsyncSession, vault: Vault, domain: str, secrets: Sequence[SecretStr], *, actor: str
) -> None:
    """Store the secrets that sign the shop's webhooks, instead of earlier ones."""
    shop = await find_shop(session, domain, locked=True)
    assert shop is not None, "a shop is never deleted"
    shop.webhook_secrets = [vault.seal_text(secret) for secret in secrets]
    log_shop(session, shop.id, ActivityKind.CREDENTIALS_SET, {"actor": actor, "vendor": SecretName.WEBHOOK_SECRET})


async def list_credentials(session: AsyncSession, vault: Vault, domain: str | None) -> list[tuple[Shop, list[Listed]]]:
    """Every vendor of one shop, or of all."""
    query = select(Shop).order_by(Shop.domain)
    shops = (await session.scalars(query if domain is None else query.where(Shop.domain == domain))).all()
    answers = await vendor_answers(session)
    return [(shop, [_listed(vault, shop, vendor, answers) for vendor in Vendor]) for shop in shops]


def _listed(vault: Vault, shop: Shop, vendor: Vendor, answers: Iterable[VendorAnswer]) -> Listed:
    is_set = vendor in shop.credentials
    try:
        set_at = vault.sealed_at(shop, vendor) if is_set else None
    except InvalidToken:
        set_at = None
    mine = [one for one in answers if one.shop == shop.domain and Channel(one.channel).vendor == vendor]
    last_call = None if set_at is None else _last_call(mine, since=set_at)
    return Listed(shop=shop.domain, vendor=vendor, is_set=is_set, set_at=set_at, last_call=last_call)


def _was_called(answer: VendorAnswer) -> bool:
    """Whether the vendor was called at all."""
    return not any(words in (answer.reason or "") for words in (MISSING, UNREADABLE))


def _last_call(answers: Iterable[VendorAnswer], *, since: datetime) -> LastCall | None:
    known = [one for one in answers if one.at >= since and _was_called(one)]
    last = max(known, key=lambda one: one.at, default=None)
    if last is None:
        return None
    return LastCall(answer=Answer.ACCEPTED if last.reason is None else Answer.REFUSED, at=last.at, reason=last.reason)
