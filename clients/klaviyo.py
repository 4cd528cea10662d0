"""Klaviyo: one event on the customer's profile. A repeat is dropped by its `unique_id`, so asking again is safe."""

from typing import Any

import httpx
from pydantic import SecretStr

from clients.marketing import EVENT_NAMES, READ_SECONDS, event_properties, rfc3339, valid_email, valid_phone
from clients.outcomes import Unknown
from clients.wire import Censor, Lenient, Wire, censor, read, retry_after_header
from domain.events import RewardEvent


class Klaviyo:
    """Speaks to `POST /api/events`."""

    def __init__(self, http: httpx.AsyncClient, *, base_url: str, revision: str) -> None:
        self._wire = Wire("Klaviyo", http, READ_SECONDS)
        self._url = f"{base_url.rstrip('/')}/api/events"
        self._revision = revision

    async def send_event(self, api_key: SecretStr, event: RewardEvent) -> None:
        """Record the event; Klaviyo makes the profile where it has none.

        Raises:
            NotExecuted: 429, with Klaviyo's `Retry-After`.
            Refused: the event is invalid, or (`alarm`) key, scope or revision are.
            Unknown: Klaviyo broke off, or its bot protection answered instead of it.
        """
        key = self._wire.header(api_key)
        headers = {
            "Authorization": f"Klaviyo-API-Key {key}",
            "Accept": "application/vnd.api+json",
            "Content-Type": "application/vnd.api+json",
            "revision": self._revision,
        }
        response = await self._wire.post(self._url, headers=headers, body=_event_body(event))
        self._judge(response, censor(key, event.email, event.phone, event.discount_code))

    def _judge(self, response: httpx.Response, private: Censor) -> None:
        # A challenge of the Cloudflare in front of Klaviyo looks like a refusal but says nothing about the key.
        if "cf-mitigated" in response.headers:
            raise Unknown(self._wire.vendor, f"HTTP {response.status_code}: a Cloudflare challenge, not Klaviyo")
        errors = read(_Errors, response)
        reason = private.reason(response, None if errors is None else errors.text)
        self._wire.check_status(response, reason, retry_after=retry_after_header(response))
        if response.content and errors is None:
            raise Unknown(self._wire.vendor, f"unreadable answer, {reason}")


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
    # A balance of zero in an event counts as never set (Klaviyo's events overview); on the profile it counts.
    profile: dict[str, Any] = {
        "external_id": event.customer_id,
        "properties": {"loyalty_points_balance": event.points_balance},
    }
    if email := valid_email(event):
        profile["email"] = email
    if phone := valid_phone(event):
        profile["phone_number"] = phone
    return profile


class _Error(Lenient):
    code: str = ""
    title: str = ""
    detail: str = ""


class _Errors(Lenient):
    errors: tuple[_Error, ...] = ()

    @property
    def text(self) -> str:
        return "; ".join(f"{error.code} {error.detail or error.title}" for error in self.errors)
