"""Connection errors, waiting times, and redacted reasons."""

from datetime import timedelta

import httpx
import pytest

from clients.outcomes import NotExecuted, Refused, Unknown, VendorError
from clients.vendor_http import REASON_LENGTH, Redactor, parse_seconds
from tests.clients.build import STORE, a_discount, send_event, shopify_client


def failing(error: Exception) -> httpx.AsyncClient:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise error

    return httpx.AsyncClient(transport=httpx.MockTransport(fail))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (httpx.ConnectError, NotExecuted),
        (httpx.ConnectTimeout, NotExecuted),
        (httpx.PoolTimeout, NotExecuted),
        (httpx.UnsupportedProtocol, Refused),
        (httpx.ReadTimeout, Unknown),
        (httpx.WriteTimeout, Unknown),
        (httpx.ReadError, Unknown),
        (httpx.WriteError, Unknown),
        (httpx.CloseError, Unknown),
        (httpx.RemoteProtocolError, Unknown),
        (httpx.LocalProtocolError, Unknown),
        (httpx.ProxyError, Unknown),
        (httpx.DecodingError, Unknown),
    ],
)
async def test_only_connect_errors_are_not_executed(
    error: type[httpx.RequestError], outcome: type[VendorError]
) -> None:
    async with failing(error("lost")) as http:
        with pytest.raises(VendorError) as caught:
            await shopify_client(http).create_discount(STORE, a_discount())

    assert type(caught.value) is outcome


async def test_an_invalid_url_raises_an_alarm() -> None:
    async with failing(httpx.InvalidURL("no")) as http:
        with pytest.raises(Refused) as refused:
            await send_event("klaviyo", http)

    assert refused.value.alarm


async def test_shopifys_read_timeout_exceeds_its_own_limit() -> None:
    sent: list[httpx.Request] = []

    def record(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(202)

    async with httpx.AsyncClient(transport=httpx.MockTransport(record), timeout=None) as http:
        await send_event("klaviyo", http)
        with pytest.raises(Unknown):
            await shopify_client(http).create_discount(STORE, a_discount())

    klaviyo, shopify = (request.extensions["timeout"] for request in sent)
    assert (klaviyo["connect"], klaviyo["read"]) == (5, 10)
    assert (shopify["connect"], shopify["read"]) == (5, 12)


@pytest.mark.parametrize(
    ("text", "wait"),
    [("4.0", 4.0), ("30", 30.0), (2, 2.0), ("Wed, 21 Oct 2026", None), (-1, None), ("nan", None), ("inf", None)],
)
def test_waiting_times_are_whole_or_decimal_seconds(text: object, wait: float | None) -> None:
    assert parse_seconds(text) == (None if wait is None else timedelta(seconds=wait))


@pytest.mark.parametrize(
    "body",
    [
        '{"detail": "no jane\\u0040shopper.io"}',
        "<html><style>a{}</style><p>no jane&#64;shopper.io</p></html>",
        "no <jane@shopper.io>, 15005550006, +1 (500) 555-0006, pk_0123456789, SK_x MAGE-1 mage-1",
    ],
)
def test_encoded_secrets_are_redacted(body: str) -> None:
    reason = Redactor("MAGE-1", "SK_x", None).reason(httpx.Response(400, text=body)).lower()

    assert reason.startswith("http 400:")
    for secret in ("jane", "shopper", "5550006", "555-0006", "pk_", "sk_x", "mage-1"):
        assert secret not in reason


def test_reasons_are_short() -> None:
    reason = Redactor().redact("far too long " * 10_000)

    assert len(reason) == REASON_LENGTH
