"""What the four vendors have in common: a script of faults, a log of calls, and a state that can be looked at."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import responses
from typing import Any, cast

from fastapi import APIRouter
from starlette.responses import Response

from sandbox.faults import Down, Dropped, Fault, Script

CALLS_KEPT = 10_000
JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """What a vendor answers, and in `outcome` one word about it for the log."""

    outcome: str
    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def response(self, media_type: str = JSON) -> Response:
        """As HTTP; no body stays no body, and text is a page of HTML."""
        if isinstance(self.body, str):
            return Response(self.body, self.status, dict(self.headers), "text/html")
        content = b"" if self.body is None else json.dumps(self.body).encode()
        return Response(content, self.status, dict(self.headers), media_type)


class Vendor(ABC):
    """One vendor. Its `router` has the real paths; the rest is for whoever plays with it."""

    name: str
    operations: frozenset[str] = frozenset({"events"})
    media_type: str = JSON

    def __init__(self) -> None:
        self.router = APIRouter()
        self.script = Script()
        self._requests = 0
        self._calls: deque[dict[str, str | None]] = deque(maxlen=CALLS_KEPT)
        self._late: set[asyncio.TimerHandle] = set()

    @abstractmethod
    def failed(self, status: int) -> Answer:
        """An HTTP error in the vendor's own shape."""

    @abstractmethod
    def throttled(self, retry_after: float) -> Answer:
        """Too many requests, in the vendor's own way."""

    @abstractmethod
    def arrived(self) -> dict[str, Any]:
        """What this vendor knows now."""

    @abstractmethod
    def forget(self) -> None:
        """Drop what arrived."""

    def reset(self) -> None:
        """Back to the first day: nothing arrived, no faults, nothing under way."""
        for timer in self._late:
            timer.cancel()
        self._late.clear()
        self._requests = 0
        self._calls.clear()
        self.script.clear()
        self.forget()

    def view(self) -> dict[str, Any]:
        """All that can be seen from outside."""
        return {
            "requests": self._requests,
            **self.arrived(),
            "calls": list(self._calls),
            "faults": self.script.view(),
        }

    async def serve(self, operation: str, execute: Callable[[], Answer], **about: str) -> Response:
        """Execute the operation as the script of faults has it."""
        self._requests += 1
        fault = await self.script.next(operation)
        call = {"operation": operation, **about, "fault": fault.kind if fault else None}
        if fault is None:
            return self._logged(call, execute()).response(self.media_type)
        return self._struck(fault, call, execute)

    def _struck(self, fault: Fault, call: dict[str, str | None], execute: Callable[[], Answer]) -> Response:
        match fault.kind:
            case "status":
                return self._logged(call, self._status(fault)).response(self.media_type)
            case "throttled":
                return self._logged(call, self.throttled(fault.retry_after or 1.0)).response(self.media_type)
            case "execute_then_drop":
                self._logged(call, execute())
                return Dropped()
            case "execute_late":
                loop = asyncio.get_running_loop()
                self._late.add(loop.call_later(fault.seconds, lambda: self._logged(call, execute())))
                return Dropped()
            case "broken_json":
                answer = self._logged(call, execute())
                return Response(str(fault.body or '{"data": {'), answer.status, media_type=self.media_type)
            case _:
                self._calls.append({**call, "outcome": "not executed"})
                return Down() if fault.kind == "down" else Dropped()

    def _status(self, fault: Fault) -> Answer:
        usual = self.failed(fault.status)
        retry_after = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        body = usual.body if fault.body is None else fault.body
        return Answer(usual.outcome, fault.status, body, {**usual.headers, **retry_after})

    def _logged(self, call: dict[str, str | None], answer: Answer) -> Answer:
        self._calls.append({**call, "outcome": answer.outcome})
        return answer


def phrase(status: int) -> str:
    """HTTP's words for a status, also for those that only some vendors use."""
    return responses.get(status, f"Status {status}")


def at(document: Any, *path: str) -> Any:
    """The value at this path of a JSON document, None where it does not lead anywhere."""
    for step in path:
        document = cast("dict[str, Any]", document).get(step) if isinstance(document, dict) else None
    return document
