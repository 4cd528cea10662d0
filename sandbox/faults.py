"""Faults on demand: what a vendor will do to the next requests, and the two ways a connection breaks."""

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PositiveInt, model_validator
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

# Set by `SandboxTransport`: there is no socket to break in-process, so the break is told by an exception.
IN_PROCESS = "pointsaga.in_process"

Kind = Literal[
    "latency", "status", "throttled", "drop", "execute_then_drop", "execute_late", "broken_json", "down"
]  # fmt: skip
Seconds = Annotated[float, Field(ge=0, le=600)]


class Fault(BaseModel):
    """One line of the script.

    Attributes:
        operation: a root field of Shopify's API, or `events`; None means any.
        kind: `latency` waits `seconds` and goes on; `status` answers without executing; `throttled` asks for
            `retry_after` seconds in the vendor's own way; `drop` breaks the connection without executing,
            `execute_then_drop` after it, `execute_late` before it: it executes `seconds` later; `broken_json`
            executes and answers with half a document; `down` refuses connections.
        times: how many requests it meets; None means until it is cleared, the default of `down`.
        body: of a `status` or `broken_json` answer; text is sent as HTML, anything else as JSON.
        probability: the chance that it meets a request, by `seed` for a load that can be repeated.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    operation: str | None = None
    kind: Kind
    times: PositiveInt | None = 1
    status: Annotated[int, Field(ge=200, le=599)] = 503
    seconds: Seconds = 0.0
    retry_after: Seconds | None = None
    probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int | None = None
    body: JsonValue = None

    @model_validator(mode="after")
    def _delays_take_time(self) -> "Fault":
        if self.kind in {"latency", "execute_late"} and not self.seconds:
            raise ValueError(f"`{self.kind}` needs `seconds`")
        return self


@dataclass
class _Line:
    fault: Fault
    left: int | None
    random: Random = field(repr=False)

    def meets(self, operation: str) -> bool:
        if self.left == 0 or self.fault.operation not in {None, operation}:
            return False
        if self.random.random() >= self.fault.probability:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Script:
    """The faults of one vendor, in the order they were asked for."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []

    def add(self, fault: Fault) -> None:
        """Append a fault."""
        until_cleared = fault.kind == "down" and "times" not in fault.model_fields_set
        self._lines.append(_Line(fault, None if until_cleared else fault.times, Random(fault.seed)))

    def clear(self) -> None:
        """Forget them all."""
        self._lines.clear()

    def view(self) -> list[dict[str, Any]]:
        """The faults still to come."""
        return [{**line.fault.model_dump(), "left": line.left} for line in self._lines if line.left != 0]

    async def next(self, operation: str) -> Fault | None:
        """Sit out the latencies that meet this request, then say which other fault does."""
        delay = 0.0
        struck: Fault | None = None
        for line in self._lines:
            if struck is None and line.meets(operation):
                if line.fault.kind == "latency":
                    delay += line.fault.seconds
                else:
                    struck = line.fault
        await asyncio.sleep(delay)
        return struck


class ConnectionDropped(Exception):
    """In-process: the connection broke before the answer was complete."""


class ConnectionRefused(Exception):
    """In-process: nobody listens."""


class Dropped(Response):
    """Promises a body and hangs up: the server closes a connection whose answer is not complete."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Break the connection."""
        if IN_PROCESS in scope.get("extensions", {}):
            raise ConnectionDropped
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


class Down(HTMLResponse):
    """Over HTTP what a load balancer says when nobody is behind it."""

    def __init__(self) -> None:
        super().__init__("<html><body><h1>503 Service Unavailable</h1></body></html>", HTTPStatus.SERVICE_UNAVAILABLE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or in-process refuse to."""
        if IN_PROCESS in scope.get("extensions", {}):
            raise ConnectionRefused
        await super().__call__(scope, receive, send)
