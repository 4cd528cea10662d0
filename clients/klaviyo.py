"""Klaviyo: sends one event to the customer's profile. Retries are safe: Klaviyo drops a repeated `unique_id`."""

from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import SecretStr

from clients.marketing import (
    CALL_SECONDS,
    EVENT_NAMES,
    INVALID_EVENT,
    LIMITS,
    accepts_key,
    event_properties,
    rfc3339,
    valid_email,
    valid_phone,
)
from clients.outcomes import Unknown, observed_call
from clients.vendor_http import Redactor, ResponseModel, VendorHttp, parse_body
from domain.events import RewardEvent


class Klaviyo:
    repeatable = True

    def __init__(self, http: httpx.AsyncClient, *, base_url: str, revision: str) -> None:
        self._http = VendorHttp("Klaviyo", http, seconds=CALL_SECONDS, limits=LIMITS)
        self._url = f"{base_url.rstrip('/')}/api/events"
        self._revision = revision

    async def send_event(self, api_key: SecretStr, event: RewardEvent) -> None:
        """Record the event. Klaviyo creates the profile if there is none.

        Raises:
            NotExecuted: 429, with Klaviyo's `Retry-After`.
            Refused: the event is invalid, or (`alarm`) the key, its scope or the revision is.
            Unknown: Klaviyo failed, or its bot protection responded.
        """
        with observed_call("klaviyo", "send_event"):
            await self._send(api_key, _event_body(event), event.email, event.phone, event.discount_code)

    async def check_key(self, api_key: SecretStr) -> None:
        """Find out whether Klaviyo accepts the key; see `accepts_key`."""
        await accepts_key(self._send(api_key, INVALID_EVENT))

    async def _send(self, api_key: SecretStr, body: Mapping[str, Any], *private: str | None) -> None:
        key = self._http.header_value(api_key)
        headers = {
            "Authorization": f"Klaviyo-API-Key {key}",
            "Accept": "application/vnd.api+json",
            "Content-Type": "application/vnd.api+json",
            "revision": self._revision,
        }
        response = await self._http.post(self._url, headers=headers, body=body)
        # The Cloudflare challenge in front of Klaviyo is a 403, but says nothing about the key.
        # Source: github.com/klaviyo/klaviyo-api-node, issue 66.
        if "cf-mitigated" in response.headers:
            raise Unknown(self._http.vendor, f"HTTP {response.status_code}: a Cloudflare challenge, not Klaviyo")
        errors = parse_body(_Errors, response)
        redactor = Redactor(key, *private)
        reason = redactor.reason(response, errors and errors.text)
        self._http.check_status(response, reason)
        if response.content and errors is None:
            raise Unknown(self._http.vendor, f"unreadable response, {reason}")


def _event_body(event: RewardEvent) -> dict[str, Any]:
    attributes = {
        "properties": event_properties(event),
        "time": rfc3339(event.occurred_at),
        "unique_id": str(event.event_id),
        "metric": {"data": {"type": "metric", "attributes": {"name": EVENT_NAMES[event.kind]}}},
        "profile": {"data": {"type": "profile", "attributes": _profile(event)}},
    }
    return {"data": {"type": "event", "attributes": attributes}}


def _profile(event: RewardEvent) -> dict[str, Any]:
    # The balance is also a profile property, because Klaviyo treats a 0 in an event as never set.
    # Source: Klaviyo, events API overview.
    profile: dict[str, Any] = {
        "external_id": event.customer_id,
        "properties": {"loyalty_points_balance": event.points_balance},
    }
    if email := valid_email(event):
        profile["email"] = email
    if phone := valid_phone(event):
        profile["phone_number"] = phone
    return profile


class _Error(ResponseModel):
    code: str = ""
    title: str = ""
    detail: str = ""


class _Errors(ResponseModel):
    errors: tuple[_Error, ...] = ()

    @property
    def text(self) -> str:
        return "; ".join(f"{error.code} {error.detail or error.title}" for error in self.errors)
