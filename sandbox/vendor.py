"""What the simulated vendors share: the fault script, the call log, and the state that `/_sandbox` shows."""

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

from sandbox.faults import MAX_SECONDS, Down, Dropped, Fault, Hanging, Script, Trickling

CALLS_KEPT = 10_000
JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """A vendor's response, with `outcome` for the call log."""

    outcome: str
    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def response(self, media_type: str = JSON) -> Response:
        """The HTTP response; a text body is sent as HTML."""
        if isinstance(self.body, str):
            return Response(self.body, self.status, dict(self.headers), "text/html")
        content = b"" if self.body is None else json.dumps(self.body).encode()
        return Response(content, self.status, dict(self.headers), media_type)


class Vendor(ABC):
    """A simulated vendor; `router` has its API paths."""

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
    def error_answer(self, status: int) -> Answer:
        """An HTTP error in the vendor's format."""

    @abstractmethod
    def throttled(self, retry_after: float) -> Answer:
        """The vendor's rate limit response; `retry_after` in seconds."""

    @abstractmethod
    def contents(self) -> dict[str, Any]:
        """The received data, as `/_sandbox` shows it."""

    @abstractmethod
    def clear(self) -> None:
        """Delete the received data."""

    def reset(self) -> None:
        """Restore the initial state: no data, no calls, no faults, no delayed executions."""
        for timer in self._late:
            timer.cancel()
        self._late.clear()
        self._requests = 0
        self._calls.clear()
        self.script.clear()
        self.clear()

    def view(self) -> dict[str, Any]:
        """The JSON of `/_sandbox/{vendor}`."""
        return {
            "requests": self._requests,
            **self.contents(),
            "calls": list(self._calls),
            "faults": self.script.view(),
        }

    async def serve(self, operation: str, execute: Callable[[], Answer], *, account: str, **about: str) -> Response:
        """Execute the operation, or apply the next fault of this account to it."""
        self._requests += 1
        fault = await self.script.next(operation, account)
        call = {"operation": operation, **about, "fault": fault.kind if fault else None}
        if fault is None:
            return self._logged(call, execute()).response(self.media_type)
        return self._apply(fault, call, execute)

    def _apply(self, fault: Fault, call: dict[str, str | None], execute: Callable[[], Answer]) -> Response:
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
            case "trickle":
                return Trickling(self._logged(call, execute()).response(self.media_type))
            case _:
                self._calls.append({**call, "outcome": "not executed"})
                return _unanswered(fault)

    def _status(self, fault: Fault) -> Answer:
        usual = self.error_answer(fault.status)
        retry_after = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        body = usual.body if fault.body is None else fault.body
        return Answer(usual.outcome, fault.status, body, {**usual.headers, **retry_after})

    def _logged(self, call: dict[str, str | None], answer: Answer) -> Answer:
        self._calls.append({**call, "outcome": answer.outcome})
        return answer


def _unanswered(fault: Fault) -> Response:
    match fault.kind:
        case "down":
            return Down()
        case "hang":
            return Hanging(fault.seconds or MAX_SECONDS)
        case _:
            return Dropped()


def phrase(status: int) -> str:
    return responses.get(status, f"Status {status}")


def at(document: Any, *path: str) -> Any:
    """The value at this path of a JSON document, None if there is none."""
    for step in path:
        document = cast("dict[str, Any]", document).get(step) if isinstance(document, dict) else None
    return document
