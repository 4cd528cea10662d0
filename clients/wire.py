"""What every vendor's client shares: one request, one try, and a reason that can be shown to anybody."""

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter, ValidationError

from clients.outcomes import NotExecuted, Refused, Unknown

Model = TypeVar("Model", bound=BaseModel)

CONNECT_SECONDS = 5.0
REASON_LENGTH = 300

# Statuses that no other event of this merchant will escape either: a key, a scope, an address or a version is wrong.
CONFIGURATION = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}

_SAFE_HEADER = re.compile(r"[!-~]+")
_HTML = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_PRIVATE = re.compile(
    r"[^\s@<>\"',;]+@[^\s@<>\"',;]+"  # an e-mail address
    r"|(?<![\w/-])\+?\d[\d ().-]{6,}\d(?![\w-])"  # a phone number, but not a number inside a gid or a uuid
    r"|\b(?:shp\w{2}|pk|sk)_\w+",  # a key of Shopify, Klaviyo or Postscript
)


class Lenient(BaseModel):
    """A vendor's answer: what it has beyond the declared fields is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


@dataclass(frozen=True)
class Wire:
    """The line to one vendor."""

    vendor: str
    http: httpx.AsyncClient
    read_seconds: float

    async def post(self, url: str, *, headers: Mapping[str, str], body: Mapping[str, Any]) -> httpx.Response:
        """Send the request once; whatever status comes back is the caller's to judge.

        Raises:
            NotExecuted: it never left, or never reached the vendor.
            Refused: the address cannot be one.
            Unknown: it was lost on the way there or back.
        """
        timeout = httpx.Timeout(self.read_seconds, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS)
        try:
            return await self.http.post(url, headers=headers, json=body, timeout=timeout)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotExecuted(self.vendor, type(error).__name__) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Refused(self.vendor, "the configured address is not a valid one", alarm=True) from error
        except httpx.RequestError as error:
            raise Unknown(self.vendor, type(error).__name__) from error

    def header(self, secret: SecretStr) -> str:
        """The key as a header can carry it.

        Raises:
            Refused: no vendor gave out a key like this.
        """
        if not _SAFE_HEADER.fullmatch(secret.get_secret_value()):
            raise Refused(self.vendor, "the key is empty or has characters that no key has", alarm=True)
        return secret.get_secret_value()

    def check_status(self, response: httpx.Response, reason: str, *, retry_after: timedelta | None) -> None:
        """Let a 2xx pass and raise the outcome that every other status means at every vendor.

        Raises:
            NotExecuted: 429.
            Unknown: 408 and 5xx, where the vendor may have gone on without us.
            Refused: everything else.
        """
        if response.is_success:
            return
        status = response.status_code
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise NotExecuted(self.vendor, reason, retry_after=retry_after)
        if response.is_server_error or status == HTTPStatus.REQUEST_TIMEOUT:
            raise Unknown(self.vendor, reason)
        raise Refused(self.vendor, reason, alarm=status in CONFIGURATION or response.is_redirect)


@dataclass(frozen=True)
class Censor:
    """Takes out of a vendor's words what only this customer and this merchant may see."""

    secrets: tuple[str, ...]

    def reason(self, response: httpx.Response, text: str | None = None) -> str:
        """The status and what the vendor said: `text` where the caller could read it, else the bare body."""
        said = self.clean(_plain(response) if text is None else text)
        return f"HTTP {response.status_code}: {said}" if said else f"HTTP {response.status_code}"

    def clean(self, text: str) -> str:
        """One short line without keys, e-mail addresses, phone numbers or the secrets of this request."""
        for secret in self.secrets:
            text = re.sub(re.escape(secret), "[…]", text, flags=re.IGNORECASE)
        line = " ".join(_PRIVATE.sub("[…]", text).split())
        return line if len(line) <= REASON_LENGTH else line[: REASON_LENGTH - 1] + "…"


def censor(*secrets: str | None) -> Censor:
    """A censor for these secrets; those a customer does not have are left out."""
    return Censor(tuple(secret for secret in secrets if secret))


def read(model: type[Model], response: httpx.Response) -> Model | None:
    """The body as that model, None where it is not one: HTML, cut off, or something else entirely."""
    try:
        return model.model_validate_json(response.content)
    except ValidationError:
        return None


def retry_after_header(response: httpx.Response) -> timedelta | None:
    """The `Retry-After` header in seconds, whole or decimal; None where there is none that can be read."""
    return seconds(response.headers.get("Retry-After"))


def seconds(value: object) -> timedelta | None:
    """A vendor's number of seconds, as a number or as text; None for anything that is not a wait."""
    try:
        number = TypeAdapter(float).validate_python(value)
        return timedelta(seconds=number) if number >= 0 else None
    except (ValidationError, OverflowError, ValueError):
        return None


def _plain(response: httpx.Response) -> str:
    # Decoded first: an address must not slip past the censor as `jane\\u0040shop.io` or `jane&#64;shop.io`.
    try:
        return json.dumps(TypeAdapter(Any).validate_json(response.content), ensure_ascii=False)
    except ValidationError:
        return html.unescape(_HTML.sub(" ", response.text))
