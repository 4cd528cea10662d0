"""Secrets at rest: credentials, signing secrets and Shopify's webhooks, plain only in the process that uses them."""

import json
from collections.abc import Iterable, Mapping

from cryptography.fernet import Fernet, MultiFernet
from pydantic import SecretStr

from db.tables import Shop


class Vault:
    """Seals and opens. The first key encrypts, all of them decrypt, so keys can be rotated."""

    def __init__(self, keys: Iterable[SecretStr]) -> None:
        self._fernet = MultiFernet([Fernet(key.get_secret_value()) for key in keys])

    def seal(self, credentials: Mapping[str, str]) -> str:
        """Credentials of one vendor, fit to be stored."""
        return self._fernet.encrypt(json.dumps(dict(credentials)).encode()).decode()

    def open(self, shop: Shop, vendor: str, field: str) -> SecretStr:
        """One field of the shop's credentials for a vendor, such as `("klaviyo", "api_key")`.

        Raises:
            KeyError: the shop has no such vendor or field.
            cryptography.fernet.InvalidToken: none of the keys fits.
        """
        return SecretStr(json.loads(self._fernet.decrypt(shop.credentials[vendor]))[field])

    def seal_bytes(self, plain: bytes) -> bytes:
        """A webhook's body or a signing secret, fit to be stored."""
        return self._fernet.encrypt(plain)

    def open_bytes(self, sealed: bytes) -> bytes:
        """What was sealed.

        Raises:
            cryptography.fernet.InvalidToken: none of the keys fits.
        """
        return self._fernet.decrypt(sealed)
