"""Postscript: sends one event, which may become a text message.

An unknown outcome must not be retried: Postscript does not document that it drops a repeated `external_id`, so the
customer could get a second text. Source: developers.postscript.io/reference/create-custom-event.
"""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

import httpx
from pydantic import SecretStr

from clients.marketing import CALL_SECONDS, EVENT_NAMES, INVALID_EVENT, LIMITS, accepts_key, contact, event_properties
from clients.outcomes import NotExecuted, Unknown, observed_call
from clients.vendor_http import Redactor, ResponseModel, VendorHttp, parse_body, retry_after_header
from domain.events import RewardEvent

RATE_LIMIT_EXCEEDED = 3002


class Postscript:
    # A duplicate text message costs money and can cost the customer's consent.
    repeatable = False

    def __init__(self, http: httpx.AsyncClient, *, base_url: str) -> None:
        self._http = VendorHttp("Postscript", http, seconds=CALL_SECONDS, limits=LIMITS)
        self._url = f"{base_url.rstrip('/')}/api/v2/events"

    async def send_event(self, api_key: SecretStr, event: RewardEvent) -> None:
        """Record the event. Postscript looks up the subscriber later and sends nothing if there is none.

        Raises:
            NotExecuted: over the rate limit; Postscript does not say for how long.
            Refused: the event is invalid, or (`alarm`) the key is.
            NoRecipient: the customer has neither e-mail nor phone.
            Unknown: Postscript failed, or a success response lacks `event_ids`.
        """
        body = {
            # Letters, digits and underscores only.
            "type": EVENT_NAMES[event.kind].replace(" ", "_"),
            **contact(self._http.vendor, event),
            "occurred_at": event.occurred_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
            "external_id": str(event.event_id),
            "properties": event_properties(event),
        }
        with observed_call("postscript", "send_event"):
            await self._send(api_key, body, event.email, event.phone, event.discount_code)

    async def check_key(self, api_key: SecretStr) -> None:
        """Find out whether Postscript accepts the key; see `accepts_key`."""
        await accepts_key(self._send(api_key, INVALID_EVENT))

    async def _send(self, api_key: SecretStr, body: Mapping[str, Any], *private: str | None) -> None:
        key = self._http.header_value(api_key)
        response = await self._http.post(self._url, headers={"Authorization": f"Bearer {key}"}, body=body)
        error = parse_body(_Error, response)
        redactor = Redactor(key, *private)
        reason = redactor.reason(response, error and error.text)
        if error and error.error_code == RATE_LIMIT_EXCEEDED:
            raise NotExecuted(self._http.vendor, reason, retry_after=retry_after_header(response))
        self._http.check_status(response, reason)
        if parse_body(_Accepted, response) is None:
            raise Unknown(self._http.vendor, f"unreadable response, {reason}")


class _Error(ResponseModel):
    error_code: int | None = None
    error_message: str = ""

    @property
    def text(self) -> str:
        return " ".join(filter(None, (str(self.error_code or ""), self.error_message)))


class _Accepted(ResponseModel):
    event_ids: tuple[str, ...]
