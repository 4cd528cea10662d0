"""The codec server, as the Temporal UI and the command line call it."""

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from google.protobuf import json_format
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload, Payloads

from api.codec import MAX_BODY_BYTES, create_app
from clients.sealed_payloads import SealedPayloads
from settings import CodecSettings

KEY, OLD_KEY = "k" * 32, "o" * 43
UI = "https://temporal.example.com"
CLEAR = Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=b'"jane"')])


@pytest.fixture
def sealing() -> CodecSettings:
    keys = {"payload_keys": Fernet.generate_key().decode(), "codec_keys": f"{KEY}, {OLD_KEY}", "codec_origins": UI}
    return CodecSettings.model_validate({**keys, "log_format": "text"})


@pytest.fixture
async def server(sealing: CodecSettings) -> AsyncGenerator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(sealing), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://codec") as client:
        yield client


@pytest.fixture
async def sealed(sealing: CodecSettings) -> str:
    """A body with a sealed payload."""
    codec = SealedPayloads(sealing.payload_keys, sealing.temporal_namespace)
    return as_json(Payloads(payloads=await codec.encode(CLEAR.payloads)))


def as_json(payloads: Payloads) -> str:
    return json_format.MessageToJson(payloads)


def headers(key: str = KEY, namespace: str = "default") -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "X-Namespace": namespace, "Content-Type": "application/json"}


async def test_a_known_key_reads_workflow_data(server: httpx.AsyncClient, sealed: str) -> None:
    for key in (KEY, OLD_KEY):
        answer = await server.post("/decode", content=sealed, headers=headers(key))

        assert json_format.Parse(answer.content, Payloads()) == CLEAR


@pytest.mark.parametrize("path", [f"/key/{KEY}/decode", "/default/decode"])
async def test_key_and_namespace_can_be_in_the_path(server: httpx.AsyncClient, sealed: str, path: str) -> None:
    given = headers() if "key" not in path else {"X-Namespace": "default"}

    answer = await server.post(path, content=sealed, headers=given)

    assert json_format.Parse(answer.content, Payloads()) == CLEAR


@pytest.mark.parametrize("path", ["/decode", "/encode", "/default/decode", f"/key/{'x' * 32}/decode"])
@pytest.mark.parametrize("key", [None, "", "x" * 32, "ключ"])
async def test_nobody_reads_without_a_key(server: httpx.AsyncClient, sealed: str, path: str, key: str | None) -> None:
    authorization: Any = {} if key is None else {"Authorization": f"Bearer {key}".encode()}

    answer = await server.post(path, content=sealed, headers={"X-Namespace": "default", **authorization})

    assert answer.status_code == 401
    assert "payloads" not in answer.text


async def test_another_namespace_is_not_served(server: httpx.AsyncClient, sealed: str) -> None:
    assert (await server.post("/decode", content=sealed, headers=headers(namespace="other"))).status_code == 404
    assert (await server.post("/other/decode", content=sealed, headers=headers())).status_code == 404


async def test_what_is_written_in_the_ui_is_sealed(server: httpx.AsyncClient) -> None:
    encoded = await server.post("/encode", content=as_json(CLEAR), headers=headers())
    [sealed] = json_format.Parse(encoded.content, Payloads()).payloads
    assert b"jane" not in sealed.data

    decoded = await server.post("/decode", content=encoded.content, headers=headers())
    assert json_format.Parse(decoded.content, Payloads()) == CLEAR


async def test_clear_payloads_stay_as_they_are(server: httpx.AsyncClient) -> None:
    answer = await server.post("/decode", content=as_json(CLEAR), headers=headers())

    assert json_format.Parse(answer.content, Payloads()) == CLEAR


@pytest.mark.parametrize("body", ["", "{", '{"payloads": 1}', '{"data": ""}', "\xff"])
async def test_a_body_without_payloads_is_refused(server: httpx.AsyncClient, body: str) -> None:
    answer = await server.post("/decode", content=body.encode("latin-1"), headers=headers())

    assert answer.status_code == 400


async def test_an_unknown_payload_key_is_named(server: httpx.AsyncClient) -> None:
    lost = await SealedPayloads([SecretStr(Fernet.generate_key().decode())], "default").encode(CLEAR.payloads)

    answer = await server.post("/decode", content=as_json(Payloads(payloads=lost)), headers=headers())

    assert answer.status_code == 400
    assert "PAYLOAD_KEYS has no key" in answer.text


async def test_a_body_has_a_largest_size(server: httpx.AsyncClient) -> None:
    answer = await server.post("/decode", content=b" " * (MAX_BODY_BYTES + 1), headers=headers())

    assert answer.status_code == 413


@pytest.mark.parametrize(("origin", "is_allowed"), [(UI, True), ("https://evil.example.com", False)])
async def test_only_the_uis_pages_may_ask(server: httpx.AsyncClient, origin: str, *, is_allowed: bool) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-namespace"}

    answer = await server.options("/default/decode", headers={"Origin": origin, **asked})

    assert (answer.status_code == 200) is is_allowed
    assert answer.headers.get("Access-Control-Allow-Origin") == (origin if is_allowed else None)


@pytest.mark.parametrize("missing", ["payload_keys", "codec_keys"])
async def test_it_does_not_start_without_keys(
    sealing: CodecSettings, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        create_app(sealing.model_copy(update={missing: ()}))

    assert f"needs {missing.upper()}" in capsys.readouterr().err
