"""What a shop's vendors are spoken to with. It can go between planning and sending: the app is uninstalled, say."""

from cryptography.fernet import InvalidToken
from pydantic import SecretStr

from clients.outcomes import Refused
from clients.shopify import Store
from db.tables import Shop
from db.vault import Vault


def key_of(vault: Vault, shop: Shop, vendor: str, field: str = "api_key") -> SecretStr:
    """The key that opens the shop's account with a vendor.

    Raises:
        Refused: the shop has none, or none that can be read.
    """
    try:
        return vault.open(shop, vendor, field)
    except KeyError:
        reason = "the shop has no credentials for it any more"
    except InvalidToken:
        reason = "none of ENCRYPTION_KEYS opens the shop's credentials"
    raise Refused(vendor.capitalize(), reason, alarm=True)


def store_of(vault: Vault, shop: Shop) -> Store:
    """The shop at Shopify.

    Raises:
        Refused: the shop has no access token, or none that can be read.
    """
    return Store(shop.domain, key_of(vault, shop, "shopify", "access_token"))
