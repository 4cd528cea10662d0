"""Webhooks over real sockets: who they can reach, and who not. Only the look-up of names is the tests' own."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from clients.outcomes import NotExecuted, Unknown
from clients.subscribers import WebhookRequest, Subscribers
from clients.targets import TargetRefused, Targets, is_public
from domain.subscriptions import WebhookEvent
from tests.receiver import listening

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]


def a_notice() -> WebhookRequest:
    return WebhookRequest(
        id=uuid4(),
        event=WebhookEvent.POINTS_REDEEMED,
        body=b"{}",
        secret=SecretStr("5ec2e7"),
        sent_at=datetime.now(UTC),
    )


def named(*answers: Sequence[str]) -> tuple[Lookup, list[str]]:
    """A look-up that answers one after the other, the last again and again; and what it was asked."""
    asked: list[str] = []

    async def look_up(host: str, port: int) -> Sequence[str]:
        asked.append(f"{host}:{port}")
        return answers[min(len(asked), len(answers)) - 1]

    return look_up, asked


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.15.0.1", "2606:4700:4700::1111"])
def test_an_address_on_the_internet_is_public(address: str) -> None:
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
async def test_no_webhook_goes_to_an_address_that_is_not_public(address: str) -> None:
    targets = Targets(allow_private=False, resolve=named(["8.8.8.8", address])[0])

    with pytest.raises(TargetRefused, match="not on the public internet"):
        await targets.check("https://hooks.example/")


async def test_a_name_that_has_no_address_yet_can_be_subscribed_but_not_reached() -> None:
    targets = Targets(allow_private=False)

    await targets.check("https://hooks.invalid/")

    with pytest.raises(NotExecuted, match="no address"):
        await Subscribers(targets).send("https://hooks.invalid/", a_notice())


async def test_a_name_that_means_this_machine_by_the_time_of_sending_is_not_reached() -> None:
    look_up, _ = named(["8.8.8.8"], ["127.0.0.1"])
    targets = Targets(allow_private=False, resolve=look_up)
    async with listening() as receiver:
        url = f"https://hooks.example:{receiver.port}/"
        await targets.check(url)

        with pytest.raises(NotExecuted, match="not on the public internet"):
            await Subscribers(targets).send(url, a_notice())

    assert receiver.received == []


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    look_up, asked = named(["127.0.0.1"], ["203.0.113.1"])
    async with listening() as receiver:
        url = f"http://hooks.example:{receiver.port}/"

        assert await Subscribers(Targets(allow_private=True, resolve=look_up)).send(url, a_notice()) == 200

    assert asked == [f"hooks.example:{receiver.port}"]
    assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"


async def test_an_address_that_refuses_is_passed_over_for_the_next() -> None:
    look_up, _ = named(["127.0.0.2", "127.0.0.1"])
    async with listening() as receiver:
        url = f"http://hooks.example:{receiver.port}/"

        assert await Subscribers(Targets(allow_private=True, resolve=look_up)).send(url, a_notice()) == 200


async def test_a_redirect_is_not_followed() -> None:
    async with listening() as inside, listening(script=[307], extra=f"Location: {inside.url}\r\n") as receiver:
        assert await Subscribers(Targets(allow_private=True)).send(receiver.url, a_notice()) == 307

    assert inside.received == []


async def test_an_answer_that_never_ends_is_not_read() -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(b"5\r\nwater\r\n")
                await writer.drain()
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    async with asyncio.timeout(5):
        port = server.sockets[0].getsockname()[1]
        assert await Subscribers(Targets(allow_private=True)).send(f"http://127.0.0.1:{port}/", a_notice()) == 200
    server.close()


async def test_who_takes_too_long_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.subscribers.TOTAL_SECONDS", 0.2)
    async with listening(seconds=1) as receiver:
        with pytest.raises(Unknown, match="Timeout"):
            await Subscribers(Targets(allow_private=True)).send(receiver.url, a_notice())


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate for hooks.example with its key, which this process trusts."""
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
    return path


async def test_the_certificate_must_be_that_of_the_name_and_not_of_the_address(authority: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(authority)
    subscribers = Subscribers(Targets(allow_private=True, resolve=named(["127.0.0.1"])[0]))
    async with listening(tls=tls) as receiver:
        assert await subscribers.send(f"https://hooks.example:{receiver.port}/", a_notice()) == 200

        with pytest.raises(NotExecuted, match="ConnectError"):
            await subscribers.send(f"https://other.example:{receiver.port}/", a_notice())

    assert len(receiver.received) == 1
