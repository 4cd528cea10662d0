"""Encryption of workflow data: Temporal stores ciphertext, whatever an input, result, summary or failure contains."""

import hashlib
import os
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

# Names of Temporal's own samples.
ENCODING, KEY_ID = "encoding", "encryption-key-id"
SEALED = b"binary/encrypted"

CLEAR = "clear"
"""In place of the first key: seal nothing, but open what others have sealed."""

_NONCE_BYTES = 12


class UnreadablePayload(RuntimeError):
    """A payload was sealed with a key that is missing, in another namespace, or was changed.

    A workflow task that meets one fails and is retried until the key is back, so nothing is lost.
    """


def data_converter(keys: Sequence[SecretStr], namespace: str) -> DataConverter:
    """The one way from values to payloads and back. Without keys, payloads are clear."""
    if not keys:
        return pydantic_data_converter
    codec = SealedPayloads(keys, namespace)
    converter = replace(pydantic_data_converter, payload_codec=codec)
    if codec.seals:
        # Message and stack trace of a failure are sealed too. Its type, which retry policies name, stays clear.
        converter = replace(converter, failure_converter_class=DefaultFailureConverterWithEncodedAttributes)
    return converter


class SealedPayloads(PayloadCodec):
    """AES-256-GCM. The first key seals, all open, so keys can be rotated. If the first is `clear`, nothing is sealed.

    A clear payload stays as it is when opened.
    Namespace and key id are authenticated: a payload that is copied to another namespace cannot be read there.
    """

    def __init__(self, keys: Sequence[SecretStr], namespace: str) -> None:
        values = [key.get_secret_value() for key in keys]
        self.seals = values[0] != CLEAR
        raw = [urlsafe_b64decode(value) for value in values if value != CLEAR]
        self._ciphers = {_key_id(key): AESGCM(key) for key in raw}
        self._first = next(iter(self._ciphers))
        self._namespace = namespace.encode()

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Seal the payloads."""
        return [self._seal(payload) if self.seals else payload for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Open the payloads. Raises `UnreadablePayload`."""
        return [self._open(payload) if is_sealed(payload) else payload for payload in payloads]

    def _seal(self, payload: Payload) -> Payload:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._first].encrypt(nonce, payload.SerializeToString(), self._bound_to(self._first))
        return Payload(metadata={ENCODING: SEALED, KEY_ID: self._first}, data=nonce + sealed)

    def _open(self, payload: Payload) -> Payload:
        key_id = payload.metadata.get(KEY_ID, b"")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise UnreadablePayload(f"PAYLOAD_KEYS has no key {key_id.decode(errors='replace')!r}, which sealed this")
        nonce, sealed = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, sealed, self._bound_to(key_id)))
        except (InvalidTag, ValueError):
            raise UnreadablePayload("the payload was changed, or sealed in another namespace") from None

    def _bound_to(self, key_id: bytes) -> bytes:
        return b"\0".join((SEALED, key_id, self._namespace))


def is_sealed(payload: Payload) -> bool:
    """Whether the payload was sealed. Everything from before `PAYLOAD_KEYS` was set is clear."""
    return payload.metadata.get(ENCODING) == SEALED


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(key).hexdigest()[:12].encode()
