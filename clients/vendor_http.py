"""HTTP shared by all vendor clients: one request without retries, its outcome, and a redacted reason."""

import asyncio
import html
import json
import re
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter, ValidationError

from clients.destinations import Destinations, Limits
from clients.outcomes import NotExecuted, Refused, Unknown
from clients.spans import call_span

Model = TypeVar("Model", bound=BaseModel)

CONNECT_SECONDS = 5.0
REASON_LENGTH = 300

# The responses that are expected have at most some kilobytes.
RESPONSE_BYTES = 1024 * 1024

# These fail every call of the merchant, not just this one: a wrong key, scope, URL or API version.
CONFIGURATION_STATUSES = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}

# Built once: building one takes longer than a use.
_JSON = TypeAdapter(Any)
_NUMBER = TypeAdapter(float)

_SAFE_HEADER = re.compile(r"[!-~]+")
_HTML = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_PRIVATE = re.compile(
    r"[^\s@<>\"',;]+@[^\s@<>\"',;]+"  # e-mail address
    r"|(?<![\w/-])\+?\d[\d ().-]{6,}\d(?![\w-])"  # phone number, but not a number inside a gid or a uuid
    r"|\b(?:shp\w{2}|pk|sk)_\w+",  # key of Shopify, Klaviyo or Postscript
)


@cache
def tls_context() -> ssl.SSLContext:
    """Trusts the usual certificate authorities. One for the process, as loading them takes 20 ms."""
    return httpx.create_ssl_context()


class ResponseModel(BaseModel):
    """Part of a vendor's response. Undeclared fields are ignored: vendors add some without notice."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class VendorHttp:
    """Sends requests to one vendor. `seconds`: the longest that a call may take from connecting to the last byte."""

    def __init__(self, vendor: str, client: httpx.AsyncClient, *, seconds: float, limits: Limits) -> None:
        self.vendor = vendor
        self._client = client
        self._seconds = seconds
        self._destinations = Destinations(vendor, limits)

    async def post(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        body: Mapping[str, Any],
        destination: str = "",
        operation: str = "event",
    ) -> httpx.Response:
        """Send the request once and return the response, whatever its status. Redirects are not followed.

        `destination` names what the limits are for, if the vendor has several; `operation` names the call in traces.

        Raises:
            NotExecuted: no connection, or the call is held.
            Refused: the URL is invalid.
            Unknown: the connection failed after it was made, or the response took too long or is too large.
        """
        with call_span(self.vendor, operation) as span:
            async with self._outcomes(), self._destinations[destination].call(), asyncio.timeout(self._seconds):
                response = await self._send(url, headers, body)
            span.set_attribute("http.response.status_code", response.status_code)
            return response

    @asynccontextmanager
    async def _outcomes(self) -> AsyncGenerator[None]:
        try:
            yield
        except TimeoutError as error:
            raise Unknown(self.vendor, f"no complete response within {self._seconds:g} s") from error
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotExecuted(self.vendor, type(error).__name__) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Refused(self.vendor, "the configured URL is not valid", alarm=True) from error
        except httpx.RequestError as error:
            raise Unknown(self.vendor, type(error).__name__) from error

    async def _send(self, url: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> httpx.Response:
        timeout = httpx.Timeout(self._seconds, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS)
        async with self._client.stream(
            "POST", url, headers=headers, json=body, timeout=timeout, follow_redirects=False
        ) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > RESPONSE_BYTES:
                    raise Unknown(self.vendor, f"HTTP {response.status_code}: a response over {RESPONSE_BYTES} bytes")
            # The content is decompressed already.
            received = [(name, value) for name, value in response.headers.items() if name != "content-encoding"]
            return httpx.Response(response.status_code, headers=received, content=bytes(content))

    def header_value(self, secret: SecretStr) -> str:
        """The key as a header value. Raises `Refused` if it is empty or not printable ASCII."""
        if not _SAFE_HEADER.fullmatch(secret.get_secret_value()):
            raise Refused(self.vendor, "the key is empty or contains invalid characters", alarm=True)
        return secret.get_secret_value()

    def check_status(self, response: httpx.Response, reason: str, *, retry_after: timedelta | None = None) -> None:
        """Raise the outcome of any status except 2xx.

        Raises:
            NotExecuted: 429, with the `Retry-After` header, or with `retry_after` if there is none.
            Unknown: 408 and 5xx; the vendor may still complete the request.
            Refused: everything else.
        """
        if response.is_success:
            return
        status = response.status_code
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            header = retry_after_header(response)
            raise NotExecuted(self.vendor, reason, retry_after=retry_after if header is None else header)
        if response.is_server_error or status == HTTPStatus.REQUEST_TIMEOUT:
            raise Unknown(self.vendor, reason)
        raise Refused(self.vendor, reason, alarm=status in CONFIGURATION_STATUSES or response.is_redirect)


class Redactor:
    """Removes this request's secrets, and anything that looks like a key or a person's address, from messages."""

    def __init__(self, *secrets: str | None) -> None:
        self._secrets = [secret for secret in secrets if secret]

    def reason(self, response: httpx.Response, text: str | None = None) -> str:
        """The status and the redacted message: `text`, or the whole body if the caller could not parse it."""
        message = self.redact(_plain_text(response) if text is None else text)
        return f"HTTP {response.status_code}: {message}" if message else f"HTTP {response.status_code}"

    def redact(self, text: str) -> str:
        """The text in one line of at most 300 characters, with `[…]` for whatever is private."""
        for secret in self._secrets:
            text = re.sub(re.escape(secret), "[…]", text, flags=re.IGNORECASE)
        line = " ".join(_PRIVATE.sub("[…]", text).split())
        return line if len(line) <= REASON_LENGTH else line[: REASON_LENGTH - 1] + "…"


def parse_body(model: type[Model], response: httpx.Response) -> Model | None:
    """The body as this model; None if it is HTML, incomplete or of another shape."""
    try:
        return model.model_validate_json(response.content)
    except ValidationError:
        return None


def retry_after_header(response: httpx.Response) -> timedelta | None:
    """The `Retry-After` header if it is a number of seconds, whole or decimal."""
    return parse_seconds(response.headers.get("Retry-After"))


def parse_seconds(value: object) -> timedelta | None:
    """A number of seconds, given as number or text; None for anything else."""
    try:
        number = _NUMBER.validate_python(value)
        return timedelta(seconds=number) if number >= 0 else None
    except (ValidationError, OverflowError, ValueError):
        return None


def _plain_text(response: httpx.Response) -> str:
    # Decode first: the redactor does not recognise addresses like `jane\\u0040shop.io` or `jane&#64;shop.io`.
    try:
        return json.dumps(_JSON.validate_json(response.content), ensure_ascii=False)
    except ValidationError:
        return html.unescape(_HTML.sub(" ", response.text))
