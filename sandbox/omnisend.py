"""Simulated Omnisend: `POST /omnisend/api/events`. Repeated events are stored, as each may send a message.

Source: api-docs.omnisend.com, events and responses, version 2026-03-15.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from sandbox.marketing import Event, MarketingVendor
from sandbox.vendor import Answer, at, phrase

PROBLEMS = "https://problems.omnisend.com"
NAMES = {400: "validation-failed", 429: "rate-limit-exceeded", 500: "internal-server-error"}


class Omnisend(MarketingVendor):
    name = "omnisend"
    path = "/omnisend/api/events"
    media_type = "application/json"

    def accept(self, headers: Mapping[str, str], event: Event) -> Answer:
        if not headers.get("authorization", "").removeprefix("Omnisend-API-Key ").strip():
            return self.error_answer(401)
        if "omnisend-version" not in headers:
            return self._invalid([_required("Omnisend-Version", "Version header is required")])
        if errors := _field_errors(event):
            return self._invalid(errors)
        self.events.append(event)
        return Answer("accepted", HTTPStatus.ACCEPTED)

    def error_answer(self, status: int) -> Answer:
        return _problem(status, detail=phrase(status), instance="urn:omnisend:request:0")

    def throttled(self, retry_after: float) -> Answer:
        return _problem(429, retryAfter=max(1, round(retry_after)))

    @staticmethod
    def _invalid(errors: list[dict[str, str]]) -> Answer:
        return _problem(400, detail="One or more fields are invalid.", errors=errors)


def _problem(status: int, **members: Any) -> Answer:
    title = NAMES.get(status, phrase(status).lower().replace(" ", "-"))
    body = {"type": f"{PROBLEMS}/{title}", "title": title.replace("-", " ").capitalize(), "status": status, **members}
    return Answer(title, status, body)


def _field_errors(event: Event) -> list[dict[str, str]]:
    errors = [_required(name, f"{name} is required") for name in ("eventName", "origin") if not event.get(name)]
    if not (at(event, "contact", "email") or at(event, "contact", "phone")):
        errors.append(_required("contact", "email or phone is required"))
    return errors


def _required(name: str, message: str) -> dict[str, str]:
    return {"field": name, "code": "required", "message": message}
