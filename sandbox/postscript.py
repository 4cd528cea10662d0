"""Simulated Postscript: `POST /postscript/api/v2/events`. A repeated event is stored, as it may send another text.

Source: developers.postscript.io, create custom event and rate limits.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from uuid import uuid4

from sandbox.marketing import Event, MarketingVendor
from sandbox.vendor import Answer, phrase

RATE_LIMIT_EXCEEDED = 3002


class Postscript(MarketingVendor):
    name = "postscript"
    path = "/postscript/api/v2/events"

    def accept(self, headers: Mapping[str, str], event: Event) -> Answer:
        # Only private keys (sk_) work.
        if not re.fullmatch(r"Bearer sk_\S+", headers.get("authorization", "")):
            return self.error_answer(401)
        if not re.fullmatch(r"[A-Za-z0-9_]+", str(event.get("type", ""))):
            return _error(400, 400, "Invalid event type")
        self.events.append(event)
        return Answer("accepted", HTTPStatus.ACCEPTED, {"event_ids": [str(uuid4())]})

    def error_answer(self, status: int) -> Answer:
        return _error(status, status, phrase(status))

    def throttled(self, retry_after: float) -> Answer:
        return _error(429, RATE_LIMIT_EXCEEDED, "Rate limit exceeded")


def _error(status: int, code: int, message: str) -> Answer:
    body = {"error_code": code, "error_message": message, "success": False}
    return Answer(message.lower(), status, body)
