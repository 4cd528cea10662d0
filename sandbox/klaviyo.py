"""Simulated Klaviyo: `POST /klaviyo/api/events`. Repeated `unique_id`s of a profile and metric are dropped.

Source: developers.klaviyo.com, events API overview and rate limits.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from sandbox.marketing import Event, MarketingVendor
from sandbox.vendor import Answer, at, phrase

CODES = {400: "invalid", 401: "authentication_failed", 403: "permission_denied", 404: "not_found", 429: "throttled"}
IDENTIFIERS = ("email", "phone_number", "external_id")


class Klaviyo(MarketingVendor):
    name = "klaviyo"
    path = "/klaviyo/api/events"
    media_type = "application/vnd.api+json"

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[tuple[Any, ...]] = set()

    def clear(self) -> None:
        super().clear()
        self._seen.clear()

    def accept(self, headers: Mapping[str, str], event: Event) -> Answer:
        if not re.fullmatch(r"Klaviyo-API-Key pk_\S+", headers.get("authorization", "")):
            return self.error_answer(401)
        if headers.get("content-type") != self.media_type:
            return self.error_answer(415)
        if "revision" not in headers:
            return self._error_answer(400, "The revision header is required.", "/")
        if error := _error_of(event):
            return self._error_answer(400, *error)
        self._store_unless_repeated(event)
        return Answer("accepted", HTTPStatus.ACCEPTED)

    def _store_unless_repeated(self, event: Event) -> None:
        attributes = event["data"]["attributes"]
        profile = attributes["profile"]["data"]["attributes"]
        person = next(profile[name] for name in IDENTIFIERS if profile.get(name))
        key = (person, attributes["metric"]["data"]["attributes"]["name"], attributes.get("unique_id"))
        if key[2] is not None and key in self._seen:
            self.duplicates += 1
            return
        self._seen.add(key)
        self.events.append(event)

    def error_answer(self, status: int) -> Answer:
        return self._error_answer(status, phrase(status), "/data")

    def throttled(self, retry_after: float) -> Answer:
        wait = max(1, round(retry_after))
        answer = self._error_answer(429, f"Request was throttled. Expected available in {wait} second(s).", "/data")
        return Answer("throttled", 429, answer.body, {"Retry-After": str(wait)})

    @staticmethod
    def _error_answer(status: int, detail: str, pointer: str) -> Answer:
        code = CODES.get(status, "error")
        error = {"id": "0", "status": status, "code": code, "title": code.replace("_", " ").capitalize()}
        return Answer(code, status, {"errors": [{**error, "detail": detail, "source": {"pointer": pointer}}]})


def _error_of(event: Event) -> tuple[str, str] | None:
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
