"""A shop's vendor credentials. They can be missing by the time of a call, for example after an uninstallation.

Contact data is decrypted here too, with the same keys.
"""

from dataclasses import asdict, replace
from typing import Protocol

from cryptography.fernet import InvalidToken
from pydantic import SecretStr

from clients.outcomes import Refused
from clients.shopify import Store
from db.deliveries import EventToSend
from db.tables import Shop
from db.vault import HasCredentials, Vault
from domain.events import RewardEvent

UNREADABLE = "none of ENCRYPTION_KEYS decrypts the shop's credentials"
MISSING = "the shop has no credentials"


class ShopAccess(HasCredentials, Protocol):
    """A shop's domain and encrypted credentials."""

    @property
    def domain(self) -> str: ...


def key_of(vault: Vault, shop: Shop | HasCredentials, vendor: str, field: str = "api_key") -> SecretStr:
    """The shop's API key or access token of a vendor.

    Raises:
        Refused: the shop has no credentials, or they cannot be decrypted.
    """
    try:
        return vault.open(shop, vendor, field)
    except KeyError:
        reason = MISSING
    except InvalidToken:
        reason = UNREADABLE
    raise Refused(vendor.capitalize(), reason, alarm=True)


def store_of(vault: Vault, shop: Shop | ShopAccess) -> Store:
    """The shop and its access token, for calls to Shopify.

    Raises:
        Refused: the shop has no access token, or it cannot be decrypted.
    """
    return Store(shop.domain, key_of(vault, shop, "shopify", "access_token"))


def addressed(vault: Vault, event: EventToSend, channel: str) -> RewardEvent:
    """The event with the contact data of the time when it was recorded, so that every retry is the same.

    Raises:
        Refused: the contact data cannot be decrypted.
    """
    if event.contact is None:
        return event.event
    try:
        return replace(event.event, **asdict(vault.open_contact(event.contact)))
    except InvalidToken:
        reason = "none of ENCRYPTION_KEYS decrypts the event's contact data"
        raise Refused(channel.capitalize(), reason, alarm=True) from None
