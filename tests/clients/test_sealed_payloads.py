"""Workflow data, sealed and opened."""

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from clients.sealed_payloads import SealedPayloads, UnreadablePayload, data_converter


def a_key() -> SecretStr:
    return SecretStr(Fernet.generate_key().decode())


CLEAR = Payload(metadata={"encoding": b"json/plain"}, data=b'"jane@shopper.io"')
KEY = a_key()


async def sealed(*keys: SecretStr, namespace: str = "default") -> Payload:
    return (await SealedPayloads(keys, namespace).encode([CLEAR]))[0]


async def opened(payload: Payload, *keys: SecretStr, namespace: str = "default") -> Payload:
    return (await SealedPayloads(keys, namespace).decode([payload]))[0]


async def test_a_sealed_payload_can_be_opened() -> None:
    payload = await sealed(KEY)

    assert b"jane" not in payload.SerializeToString()
    assert await opened(payload, KEY) == CLEAR


async def test_equal_payloads_are_sealed_differently() -> None:
    assert (await sealed(KEY)).data != (await sealed(KEY)).data


async def test_payloads_from_before_the_first_key_are_read() -> None:
    assert await opened(CLEAR, KEY) == CLEAR


async def test_the_first_key_seals_and_the_others_open() -> None:
    old, new = a_key(), a_key()
    before = await sealed(old)

    after = await sealed(new, old)

    assert await opened(before, new, old) == CLEAR
    assert await opened(after, new) == CLEAR
    with pytest.raises(UnreadablePayload, match="PAYLOAD_KEYS has no key"):
        await opened(after, old)


async def test_clear_in_front_opens_only() -> None:
    """So that every process can open before the first one seals."""
    prepared = SecretStr("clear"), KEY

    assert await sealed(*prepared) == CLEAR
    assert await opened(await sealed(KEY), *prepared) == CLEAR
    failure = Failure()
    await data_converter(prepared, "default").encode_failure(ApplicationError("HTTP 401"), failure)
    assert failure.message == "HTTP 401"


async def test_another_namespaces_payload_is_not_read() -> None:
    with pytest.raises(UnreadablePayload, match="another namespace"):
        await opened(await sealed(KEY, namespace="production"), KEY, namespace="staging")


@pytest.mark.parametrize("place", [0, 12, -1])
async def test_a_changed_payload_is_not_read(place: int) -> None:
    payload = await sealed(KEY)
    changed = bytearray(payload.data)
    changed[place] ^= 1
    payload.data = bytes(changed)

    with pytest.raises(UnreadablePayload):
        await opened(payload, KEY)


async def test_a_failure_shows_its_type_only() -> None:
    converter, failure = data_converter([KEY], "default"), Failure()
    error = ApplicationError("HTTP 401: no such key", "configuration", type="Refused")

    await converter.encode_failure(error, failure)

    assert (failure.message, failure.application_failure_info.type) == ("Encoded failure", "Refused")
    assert b"401" not in failure.SerializeToString()
    assert b"configuration" not in failure.SerializeToString()
    read = await converter.decode_failure(failure)
    assert isinstance(read, ApplicationError)
    assert (read.message, list(read.details)) == ("HTTP 401: no such key", ["configuration"])
