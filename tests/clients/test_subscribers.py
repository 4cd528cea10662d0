"""Webhooks over real sockets: which addresses they reach. Only DNS is simulated."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from clients.destinations import TIMEOUTS_TO_OPEN
from clients.outcomes import NotExecuted, Unknown
from clients.subscribers import Subscribers, WebhookRequest
from clients.targets import TargetRefused, Targets, is_public
from clients.vendor_http import tls_context
from domain.subscriptions import WebhookEvent
from tests.receiver import listening
from tests.unfriendly import Answer, answering, flood, hang, redirect, trickle

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def send(url: str, *, resolve: Resolve | None = None, allow_private: bool = True) -> int:
    targets = Targets(allow_private=allow_private, resolve=resolve)
    return await Subscribers(targets).send(url, a_request(), shop_id=1)


def a_request() -> WebhookRequest:
    event, secret = WebhookEvent.POINTS_REDEEMED, SecretStr("5ec2e7")
    return WebhookRequest(id=uuid4(), event=event, body=b"{}", secret=secret, sent_at=datetime.now(UTC))


class Dns:
    """Resolves every host to the next of these address lists, and to the last one from then on."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = answers
        self.queries: list[str] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.queries.append(f"{host}:{port}")
        return self.answers[min(len(self.queries), len(self.answers)) - 1]


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.15.0.1", "2606:4700:4700::1111"])
def test_internet_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1", "172.31.9.9"),
        *("192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1"),
        *("255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::10.0.0.1"),
        *("64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "fc00::1", "fd12::1", "fe80::1"),
        *("fe80::1%eth0", "fec0::1", "ff02::1"),
    ],
)
async def test_non_public_addresses_are_refused(address: str) -> None:
    targets = Targets(allow_private=False, resolve=Dns(["8.8.8.8", address]).resolve)

    with pytest.raises(TargetRefused, match="not on the public internet"):
        await targets.check("https://hooks.example/")


async def test_an_unresolved_host_can_be_subscribed() -> None:
    await Targets(allow_private=False).check("https://hooks.invalid/")

    with pytest.raises(NotExecuted, match="no address"):
        await send("https://hooks.invalid/", allow_private=False)


async def test_dns_rebinding_is_refused() -> None:
    resolve = Dns(["8.8.8.8"], ["127.0.0.1"]).resolve
    async with listening() as receiver:
        url = f"https://hooks.example:{receiver.port}/"
        await Targets(allow_private=False, resolve=resolve).check(url)

        with pytest.raises(NotExecuted, match="not on the public internet"):
            await send(url, resolve=resolve, allow_private=False)

    assert receiver.received == []


async def test_the_connection_uses_the_checked_address() -> None:
    dns = Dns(["127.0.0.1"], ["203.0.113.1"])
    async with listening() as receiver:
        assert await send(f"http://hooks.example:{receiver.port}/", resolve=dns.resolve) == 200

    assert dns.queries == [f"hooks.example:{receiver.port}"]
    assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"


async def test_the_next_address_is_used_after_a_refusal() -> None:
    resolve = Dns(["127.0.0.2", "127.0.0.1"]).resolve
    async with listening() as receiver:
        assert await send(f"http://hooks.example:{receiver.port}/", resolve=resolve) == 200


async def test_a_redirect_is_not_followed() -> None:
    async with listening() as inside, listening(script=[307], extra=f"Location: {inside.url}\r\n") as receiver:
        assert await send(receiver.url) == 307

    assert inside.received == []


async def test_an_endless_response_is_not_read() -> None:
    async def respond_endlessly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(b"5\r\nwater\r\n")
                await writer.drain()
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(respond_endlessly, "127.0.0.1", 0)
    async with asyncio.timeout(5):
        port = server.sockets[0].getsockname()[1]
        assert await send(f"http://127.0.0.1:{port}/") == 200
    server.close()


async def test_a_hanging_host_is_held_for_its_own_shop_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.subscribers.TOTAL_SECONDS", 0.1)
    subscribers = Subscribers(Targets(allow_private=True))
    async with answering(hang) as receiver:
        for _ in range(TIMEOUTS_TO_OPEN):
            with pytest.raises(Unknown):
                await subscribers.send(receiver.url, a_request(), shop_id=1)

        with pytest.raises(NotExecuted, match="the circuit breaker is open") as held:
            await subscribers.send(receiver.url, a_request(), shop_id=1)
        with pytest.raises(Unknown):
            await subscribers.send(receiver.url, a_request(), shop_id=2)

    assert held.value.is_held
    assert receiver.connections == TIMEOUTS_TO_OPEN + 1


@pytest.mark.parametrize(("answer", "status"), [(trickle, 200), (flood, 200), (redirect, 307)])
async def test_a_subscribers_answer_ends_with_its_status(answer: Answer, status: int) -> None:
    async with answering(answer) as receiver, asyncio.timeout(5):
        assert await send(receiver.url) == status

    assert receiver.connections == 1


async def test_a_slow_subscriber_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.subscribers.TOTAL_SECONDS", 0.2)
    async with listening(seconds=1) as receiver:
        with pytest.raises(Unknown, match="Timeout"):
            await send(receiver.url)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A trusted certificate for hooks.example, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=hooks.example")
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "authority.pem"
    plain = serialization.NoEncryption()
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    tls_context.cache_clear()
    yield path
    tls_context.cache_clear()


async def test_the_certificate_must_match_the_host(authority: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(authority)
    resolve = Dns(["127.0.0.1"]).resolve
    async with listening(tls=tls) as receiver:
        assert await send(f"https://hooks.example:{receiver.port}/", resolve=resolve) == 200

        with pytest.raises(NotExecuted, match="ConnectError"):
            await send(f"https://other.example:{receiver.port}/", resolve=resolve)

    assert len(receiver.received) == 1
