"""What the simulated marketing vendors share: one endpoint for JSON events."""

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from sandbox.vendor import Answer, Vendor

Event = dict[str, Any]


class MarketingVendor(Vendor):
    """Stores accepted events, newest last."""

    path: str

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.duplicates = 0
        self.router.add_api_route(self.path, self._post, methods=["POST"])

    @abstractmethod
    def accept(self, headers: Mapping[str, str], event: Event) -> Answer:
        """Validate an event and append it to `events` if it is valid."""

    def contents(self) -> dict[str, Any]:
        return {"events": self.events, "duplicates": self.duplicates}

    def clear(self) -> None:
        self.events = []
        self.duplicates = 0

    async def _post(self, request: Request) -> Response:
        body = await request.body()
        # Its scheme differs by vendor, the key is the last word.
        api_key = request.headers.get("authorization", "").rpartition(" ")[2]
        return await self.serve("events", lambda: self._accept(request.headers, body), account=api_key)

    def _accept(self, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            event = json.loads(body)
        except ValueError:
            return self.error_answer(400)
        return self.accept(headers, cast("Event", event)) if isinstance(event, dict) else self.error_answer(400)
