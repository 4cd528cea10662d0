"""A shop's vendor credentials. They can be missing by the time of a call, for example after an uninstallation."""

from typing import Protocol

from cryptography.fernet import InvalidToken
from pydantic import SecretStr

from clients.outcomes import Refused
from clients.shopify import Store
from db.tables import Shop
from db.vault import HasCredentials, Vault


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
        reason = "the shop has no credentials"
    except InvalidToken:
        reason = "none of ENCRYPTION_KEYS decrypts the shop's credentials"
    raise Refused(vendor.capitalize(), reason, alarm=True)


def store_of(vault: Vault, shop: Shop | ShopAccess) -> Store:
    """The shop and its access token, for calls to Shopify.

    Raises:
        Refused: the shop has no access token, or it cannot be decrypted.
    """
    return Store(shop.domain, key_of(vault, shop, "shopify", "access_token"))
