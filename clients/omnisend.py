"""Omnisend: sends one custom event. A retry may send the customer's message twice.

`eventID` drops repeats of historical events only. Source: api-docs.omnisend.com/reference/events.
"""

from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import Field, SecretStr

from clients.marketing import (
    CALL_SECONDS,
    EVENT_NAMES,
    INVALID_EVENT,
    LIMITS,
    accepts_key,
    contact,
    event_properties,
    rfc3339,
)
from clients.outcomes import Unknown, observed_call
from clients.vendor_http import Redactor, ResponseModel, VendorHttp, parse_body, parse_seconds
from domain.events import RewardEvent

# One character less than the longest E.164 number. Source: Omnisend's events OpenAPI document, `contact.phone`.
PHONE_LENGTH = 15


class Omnisend:
    # A duplicate e-mail is better than a missing one.
    repeatable = True

    def __init__(self, http: httpx.AsyncClient, *, base_url: str, version: str) -> None:
        self._http = VendorHttp("Omnisend", http, seconds=CALL_SECONDS, limits=LIMITS)
        self._url = f"{base_url.rstrip('/')}/api/events"
        self._version = version

    async def send_event(self, api_key: SecretStr, event: RewardEvent) -> None:
        """Record the event. Omnisend creates an unsubscribed contact if there is none.

        Raises:
            NotExecuted: 429, with Omnisend's `retryAfter`.
            Refused: the event is invalid, or (`alarm`) key or version is.
            NoRecipient: the customer has neither e-mail nor phone.
            Unknown: Omnisend failed.
        """
        body = {
            "eventName": EVENT_NAMES[event.kind],
            "origin": "api",
            "eventID": str(event.event_id),
            "eventTime": rfc3339(event.occurred_at),
            "contact": contact(self._http.vendor, event, phone_length=PHONE_LENGTH),
            "properties": event_properties(event),
        }
        with observed_call("omnisend", "send_event"):
            await self._send(api_key, body, event.email, event.phone, event.discount_code)

    async def check_key(self, api_key: SecretStr) -> None:
        """Find out whether Omnisend accepts the key; see `accepts_key`."""
        await accepts_key(self._send(api_key, INVALID_EVENT))

    async def _send(self, api_key: SecretStr, body: Mapping[str, Any], *private: str | None) -> None:
        key = self._http.header_value(api_key)
        headers = {"Authorization": f"Omnisend-API-Key {key}", "Omnisend-Version": self._version}
        response = await self._http.post(self._url, headers=headers, body=body)
        problem = parse_body(_Problem, response)
        redactor = Redactor(key, *private)
        reason = redactor.reason(response, problem and problem.text)
        self._http.check_status(response, reason, retry_after=problem and parse_seconds(problem.retry_after))
        if response.content and problem is None:
            raise Unknown(self._http.vendor, f"unreadable response, {reason}")


class _FieldError(ResponseModel):
    field: str = ""
    message: str = ""


class _Problem(ResponseModel):
    """RFC 9457 problem details with Omnisend's members."""

    title: str = ""
    detail: str = ""
    instance: str = ""
    retry_after: Any = Field(None, alias="retryAfter")
    errors: tuple[_FieldError, ...] = ()

    @property
    def text(self) -> str:
        errors = (f"{error.field}: {error.message}" for error in self.errors)
        return "; ".join(filter(None, (self.title, self.detail, *errors, self.instance)))
