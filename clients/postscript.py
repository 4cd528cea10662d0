"""Postscript: one event that may become a text message. A repeat is a second text: never send one on a guess."""

from datetime import UTC, datetime
from typing import Any

import httpx
from pydantic import SecretStr

from clients.marketing import EVENT_NAMES, READ_SECONDS, event_properties, valid_email, valid_phone
from clients.outcomes import NotExecuted, Refused, Unknown
from clients.wire import Censor, Lenient, Wire, censor, read, retry_after_header
from domain.events import RewardEvent

RATE_LIMIT_EXCEEDED = 3002


class Postscript:
    """Speaks to `POST /api/v2/events`."""

    def __init__(self, http: httpx.AsyncClient, *, base_url: str) -> None:
        self._wire = Wire("Postscript", http, READ_SECONDS)
        self._url = f"{base_url.rstrip('/')}/api/v2/events"

    async def send_event(self, api_key: SecretStr, event: RewardEvent) -> None:
        """Record the event; Postscript looks for the subscriber later and texts nobody if there is none.

        Raises:
            NotExecuted: over the rate limit; Postscript gives no hint how long.
            Refused: the customer has neither e-mail nor phone, the event is invalid, or (`alarm`) the key is.
            Unknown: Postscript broke off, or took the event without saying so.
        """
        subscriber = _subscriber(event)
        if not subscriber:
            raise Refused(self._wire.vendor, "the customer has neither an e-mail address nor a phone number")
        key = self._wire.header(api_key)
        headers = {"Authorization": f"Bearer {key}"}
        response = await self._wire.post(self._url, headers=headers, body=_event_body(event, subscriber))
        self._judge(response, censor(key, event.email, event.phone, event.discount_code))

    def _judge(self, response: httpx.Response, private: Censor) -> None:
        error = read(_Error, response)
        reason = private.reason(response, error.text if error else None)
        wait = retry_after_header(response)
        if error and error.error_code == RATE_LIMIT_EXCEEDED:
            raise NotExecuted(self._wire.vendor, reason, retry_after=wait)
        self._wire.check_status(response, reason, retry_after=wait)
        if read(_Accepted, response) is None:
            raise Unknown(self._wire.vendor, f"unreadable answer, {reason}")


def _event_body(event: RewardEvent, subscriber: dict[str, str]) -> dict[str, Any]:
    return {
        # Postscript takes letters, digits and underscores only.
        "type": EVENT_NAMES[event.kind].replace(" ", "_"),
        **subscriber,
        "occurred_at": _postscript_time(event.occurred_at),
        "external_id": str(event.event_id),
        "properties": event_properties(event),
    }


def _subscriber(event: RewardEvent) -> dict[str, str]:
    subscriber: dict[str, str] = {}
    if phone := valid_phone(event):
        subscriber["phone"] = phone
    if email := valid_email(event):
        subscriber["email"] = email
    return subscriber


def _postscript_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


class _Error(Lenient):
    error_code: int | None = None
    error_message: str = ""

    @property
    def text(self) -> str:
        return " ".join(filter(None, (str(self.error_code or ""), self.error_message)))


class _Accepted(Lenient):
    event_ids: tuple[str, ...]
