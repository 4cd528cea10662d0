"""Omnisend: one custom event. Nothing promises that a repeat is dropped, though `eventID` is the same each time."""

from typing import Any

import httpx
from pydantic import Field, SecretStr

from clients.marketing import EVENT_NAMES, READ_SECONDS, event_properties, rfc3339, valid_email, valid_phone
from clients.outcomes import Refused, Unknown
from clients.wire import Censor, Lenient, Wire, censor, read, retry_after_header, seconds
from domain.events import RewardEvent

# Omnisend's contact schema: a phone has at most 15 characters, one less than the longest E.164 number.
PHONE_LENGTH = 15


class Omnisend:
    """Speaks to `POST /api/events`."""

    def __init__(self, http: httpx.AsyncClient, *, base_url: str, version: str) -> None:
        self._wire = Wire("Omnisend", http, READ_SECONDS)
        self._url = f"{base_url.rstrip('/')}/api/events"
        self._version = version

    async def send_event(self, api_key: SecretStr, event: RewardEvent) -> None:
        """Record the event; Omnisend makes an unsubscribed contact where it has none.

        Raises:
            NotExecuted: 429, with Omnisend's `retryAfter`.
            Refused: the customer has neither e-mail nor phone, the event is invalid, or (`alarm`) key or version are.
            Unknown: Omnisend broke off.
        """
        contact = _contact(event)
        if not contact:
            raise Refused(self._wire.vendor, "the customer has neither an e-mail address nor a phone number")
        key = self._wire.header(api_key)
        headers = {"Authorization": f"Omnisend-API-Key {key}", "Omnisend-Version": self._version}
        response = await self._wire.post(self._url, headers=headers, body=_event_body(event, contact))
        self._judge(response, censor(key, event.email, event.phone, event.discount_code))

    def _judge(self, response: httpx.Response, private: Censor) -> None:
        problem = read(_Problem, response)
        reason = private.reason(response, None if problem is None else problem.text)
        wait = retry_after_header(response) or (seconds(problem.retry_after) if problem else None)
        self._wire.check_status(response, reason, retry_after=wait)
        if response.content and problem is None:
            raise Unknown(self._wire.vendor, f"unreadable answer, {reason}")


def _event_body(event: RewardEvent, contact: dict[str, str]) -> dict[str, Any]:
    return {
        "eventName": EVENT_NAMES[event.kind],
        "origin": "api",
        "eventID": str(event.event_id),
        "eventTime": rfc3339(event.occurred_at),
        "contact": contact,
        "properties": event_properties(event),
    }


def _contact(event: RewardEvent) -> dict[str, str]:
    contact: dict[str, str] = {}
    if email := valid_email(event):
        contact["email"] = email
    if (phone := valid_phone(event)) and len(phone) <= PHONE_LENGTH:
        contact["phone"] = phone
    return contact


class _FieldError(Lenient):
    field: str = ""
    message: str = ""


class _Problem(Lenient):
    """RFC 9457, as Omnisend writes it."""

    title: str = ""
    detail: str = ""
    instance: str = ""
    retry_after: Any = Field(None, alias="retryAfter")
    errors: tuple[_FieldError, ...] = ()

    @property
    def text(self) -> str:
        faults = (f"{error.field}: {error.message}" for error in self.errors)
        return "; ".join(filter(None, (self.title, self.detail, *faults, self.instance)))
