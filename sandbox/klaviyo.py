"""Klaviyo, played: `POST /klaviyo/api/events`. A repeated `unique_id` of a profile and metric is dropped silently."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from sandbox.marketing import Event, MarketingVendor
from sandbox.vendor import Answer, at, phrase

CODES = {400: "invalid", 401: "authentication_failed", 403: "permission_denied", 404: "not_found", 429: "throttled"}
IDENTIFIERS = ("email", "phone_number", "external_id")


class Klaviyo(MarketingVendor):
    """Takes JSON:API events."""

    name = "klaviyo"
    path = "/klaviyo/api/events"
    media_type = "application/vnd.api+json"

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[tuple[Any, ...]] = set()

    def forget(self) -> None:
        """Drop the events and what is known of repeats."""
        super().forget()
        self._seen.clear()

    def accept(self, headers: Mapping[str, str], event: Event) -> Answer:
        """Check key, revision and event; keep the first of each `unique_id`."""
        if not re.fullmatch(r"Klaviyo-API-Key pk_\S+", headers.get("authorization", "")):
            return self.failed(401)
        if headers.get("content-type") != self.media_type:
            return self.failed(415)
        if "revision" not in headers:
            return self._error(400, "The revision header is required.", "/")
        if fault := _fault(event):
            return self._error(400, *fault)
        self._keep_first(event)
        return Answer("accepted", HTTPStatus.ACCEPTED)

    def _keep_first(self, event: Event) -> None:
        attributes = event["data"]["attributes"]
        profile = attributes["profile"]["data"]["attributes"]
        who = next(profile[name] for name in IDENTIFIERS if profile.get(name))
        key = (who, attributes["metric"]["data"]["attributes"]["name"], attributes.get("unique_id"))
        if key[2] is not None and key in self._seen:
            self._duplicates += 1
            return
        self._seen.add(key)
        self.keep(event)

    def failed(self, status: int) -> Answer:
        """One error object."""
        return self._error(status, phrase(status), "/data")

    def throttled(self, retry_after: float) -> Answer:
        """429 with whole seconds in `Retry-After`."""
        wait = max(1, round(retry_after))
        answer = self._error(429, f"Request was throttled. Expected available in {wait} second(s).", "/data")
        return Answer("throttled", 429, answer.body, {"Retry-After": str(wait)})

    @staticmethod
    def _error(status: int, detail: str, pointer: str) -> Answer:
        code = CODES.get(status, "error")
        error = {"id": "0", "status": status, "code": code, "title": code.replace("_", " ").capitalize()}
        return Answer(code, status, {"errors": [{**error, "detail": detail, "source": {"pointer": pointer}}]})


def _fault(event: Event) -> tuple[str, str] | None:
    attributes = at(event, "data", "attributes")
    profile = at(attributes, "profile", "data", "attributes")
    if at(event, "data", "type") != "event" or not isinstance(at(attributes, "properties"), dict):
        return "An event needs its type and its properties.", "/data"
    if not at(attributes, "metric", "data", "attributes", "name"):
        return "The metric needs a name.", "/data/attributes/metric/data/attributes/name"
    if not any(at(profile, name) for name in IDENTIFIERS):
        return "At least one profile identifier is required.", "/data/attributes/profile/data/attributes"
    return _bad_phone(profile)


def _bad_phone(profile: dict[str, Any]) -> tuple[str, str] | None:
    phone = profile.get("phone_number")
    if phone is None or re.fullmatch(r"\+[1-9]\d{6,14}", phone):
        return None
    return "Invalid phone number format.", "/data/attributes/profile/data/attributes/phone_number"
