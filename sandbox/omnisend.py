"""Omnisend, played: `POST /omnisend/api/events`. Repeats of live events are kept: each one may send a message."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from sandbox.marketing import Event, MarketingVendor
from sandbox.vendor import Answer, at, phrase

PROBLEMS = "https://problems.omnisend.com"
NAMES = {400: "validation-failed", 429: "rate-limit-exceeded", 500: "internal-server-error"}


class Omnisend(MarketingVendor):
    """Takes custom events and answers errors as RFC 9457 problems."""

    name = "omnisend"
    path = "/omnisend/api/events"
    media_type = "application/json"

    def accept(self, headers: Mapping[str, str], event: Event) -> Answer:
        """Check key, version and event."""
        if not headers.get("authorization", "").removeprefix("Omnisend-API-Key ").strip():
            return self.failed(401)
        if "omnisend-version" not in headers:
            return self._invalid([_field("Omnisend-Version", "Version header is required")])
        if faults := _faults(event):
            return self._invalid(faults)
        self.keep(event)
        return Answer("accepted", HTTPStatus.ACCEPTED)

    def failed(self, status: int) -> Answer:
        """A problem with the request's number in `instance`."""
        return _problem(status, detail=phrase(status), instance="urn:omnisend:request:0")

    def throttled(self, retry_after: float) -> Answer:
        """429 with the wait in the body."""
        return _problem(429, retryAfter=max(1, round(retry_after)))

    @staticmethod
    def _invalid(errors: list[dict[str, str]]) -> Answer:
        return _problem(400, detail="One or more fields are invalid.", errors=errors)


def _problem(status: int, **members: Any) -> Answer:
    title = NAMES.get(status, phrase(status).lower().replace(" ", "-"))
    body = {"type": f"{PROBLEMS}/{title}", "title": title.replace("-", " ").capitalize(), "status": status, **members}
    return Answer(title, status, body)


def _faults(event: Event) -> list[dict[str, str]]:
    faults = [_field(name, f"{name} is required") for name in ("eventName", "origin") if not event.get(name)]
    if not (at(event, "contact", "email") or at(event, "contact", "phone")):
        faults.append(_field("contact", "email or phone is required"))
    return faults


def _field(name: str, message: str) -> dict[str, str]:
    return {"field": name, "code": "required", "message": message}
