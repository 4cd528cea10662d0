"""Postscript, played: `POST /postscript/api/v2/events`. A repeat is one more event, and one more text message."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from uuid import uuid4

from sandbox.marketing import Event, MarketingVendor
from sandbox.vendor import Answer, phrase

RATE_LIMIT_EXCEEDED = 3002


class Postscript(MarketingVendor):
    """Queues every event it understands, whoever it is for."""

    name = "postscript"
    path = "/postscript/api/v2/events"

    def accept(self, headers: Mapping[str, str], event: Event) -> Answer:
        """Check key and type; only private keys work."""
        if not re.fullmatch(r"Bearer sk_\S+", headers.get("authorization", "")):
            return self.failed(401)
        if not re.fullmatch(r"[A-Za-z0-9_]+", str(event.get("type", ""))):
            return _error(400, 400, "Invalid event type")
        self.keep(event)
        return Answer("accepted", HTTPStatus.ACCEPTED, {"event_ids": [str(uuid4())]})

    def failed(self, status: int) -> Answer:
        """Postscript's envelope."""
        return _error(status, status, phrase(status))

    def throttled(self, retry_after: float) -> Answer:
        """429 with error 3002, and not a word about how long."""
        return _error(429, RATE_LIMIT_EXCEEDED, "Rate limit exceeded")


def _error(status: int, code: int, message: str) -> Answer:
    body = {"error_code": code, "error_message": message, "success": False}
    return Answer(message.lower(), status, body)
