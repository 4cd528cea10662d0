"""Encryption at rest of credentials, signing secrets, webhook bodies and contact data."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Protocol

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from db.tables import Shop
from domain.events import Contact


class HasCredentials(Protocol):
    """A shop, or anything else with a shop's encrypted credentials."""

    @property
    def credentials(self) -> Mapping[str, str]: ...


class Vault:
    """Encrypts and decrypts with Fernet keys. The first key encrypts, all decrypt, so keys can be rotated."""

    def __init__(self, keys: Iterable[SecretStr]) -> None:
        fernets = [Fernet(key.get_secret_value()) for key in keys]
        self._first, self._fernet = fernets[0], MultiFernet(fernets)

    def seal(self, credentials: Mapping[str, str]) -> str:
        """Encrypt the credentials of one vendor."""
        return self._fernet.encrypt(json.dumps(dict(credentials)).encode()).decode()

    def open(self, shop: Shop | HasCredentials, vendor: str, field: str) -> SecretStr:
        """Decrypt one field of the shop's credentials for a vendor, such as `("klaviyo", "api_key")`.

        Raises:
            KeyError: the shop has no such vendor or field.
            cryptography.fernet.InvalidToken: none of the keys decrypts them.
        """
        return SecretStr(json.loads(self._fernet.decrypt(shop.credentials[vendor]))[field])

    def open_all(self, shop: Shop | HasCredentials, vendor: str) -> dict[str, str]:
        """Decrypt the shop's credentials for a vendor. Empty if it has none that can be decrypted."""
        try:
            return json.loads(self._fernet.decrypt(shop.credentials[vendor]))
        except (KeyError, InvalidToken):
            return {}

    def sealed_at(self, shop: Shop | HasCredentials, vendor: str) -> datetime:
        """When the shop's credentials for a vendor were encrypted, to the second. Raises as `open`."""
        return datetime.fromtimestamp(self._fernet.extract_timestamp(shop.credentials[vendor]), UTC)

    def seal_text(self, plain: SecretStr) -> str:
        """Encrypt a secret that signs webhooks of a shop."""
        return self._fernet.encrypt(plain.get_secret_value().encode()).decode()

    def open_text(self, sealed: str) -> SecretStr:
        """Decrypt the result of `seal_text`.

        Raises:
            cryptography.fernet.InvalidToken: none of the keys decrypts it.
        """
        return SecretStr(self._fernet.decrypt(sealed).decode())

    def open_texts(self, sealed: Iterable[str]) -> list[SecretStr]:
        """Decrypt results of `seal_text`. Those that none of the keys decrypts are left out."""
        opened: list[SecretStr] = []
        for one in sealed:
            with suppress(InvalidToken):
                opened.append(self.open_text(one))
        return opened

    def check(self, shop: Shop | HasCredentials, vendor: str) -> None:
        """Check that the shop's credentials for a vendor can be decrypted.

        Raises:
            cryptography.fernet.InvalidToken: none of the keys decrypts them.
        """
        self._fernet.decrypt(shop.credentials[vendor])

    def seal_bytes(self, plain: bytes) -> bytes:
        """Encrypt a webhook body or a signing secret."""
        return self._fernet.encrypt(plain)

    def open_bytes(self, sealed: bytes) -> bytes:
        """Decrypt the result of `seal_bytes`.

        Raises:
            cryptography.fernet.InvalidToken: none of the keys decrypts them.
        """
        return self._fernet.decrypt(sealed)

    def reseal(self, sealed: bytes) -> bytes | None:
        """Encrypt again with the first key, keeping the time of encryption. None: it is encrypted with it already.

        Raises:
            cryptography.fernet.InvalidToken: none of the keys decrypts it.
        """
        try:
            self._first.decrypt(sealed)
        except InvalidToken:
            return self._fernet.rotate(sealed)
        return None

    def seal_contact(self, contact: Contact) -> bytes:
        """Encrypt a customer's contact data."""
        return self.seal_bytes(json.dumps(asdict(contact)).encode())

    def open_contact(self, sealed: bytes) -> Contact:
        """Decrypt the result of `seal_contact`.

        Raises:
            cryptography.fernet.InvalidToken: none of the keys decrypts it.
        """
        return Contact(**json.loads(self.open_bytes(sealed)))
