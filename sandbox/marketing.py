"""What Klaviyo, Omnisend and Postscript have in common: JSON events that come in one at a time."""

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from sandbox.vendor import Answer, Vendor

Event = dict[str, Any]


class MarketingVendor(Vendor):
    """Keeps the events it accepted, newest last."""

    path: str

    def __init__(self) -> None:
        super().__init__()
        self._events: list[Event] = []
        self._duplicates = 0
        self.router.add_api_route(self.path, self._post, methods=["POST"])

    @abstractmethod
    def accept(self, headers: Mapping[str, str], event: Event) -> Answer:
        """Judge one event and keep it if it is good."""

    def keep(self, event: Event) -> None:
        """Remember an accepted event."""
        self._events.append(event)

    def arrived(self) -> dict[str, Any]:
        """The events kept, and how many repeats were dropped."""
        return {"events": self._events, "duplicates": self._duplicates}

    def forget(self) -> None:
        """Drop them."""
        self._events = []
        self._duplicates = 0

    async def _post(self, request: Request) -> Response:
        body = await request.body()
        return await self.serve("events", lambda: self._accept(request.headers, body))

    def _accept(self, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            event = json.loads(body)
        except ValueError:
            return self.failed(400)
        return self.accept(headers, cast("Event", event)) if isinstance(event, dict) else self.failed(400)
