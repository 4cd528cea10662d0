"""The fault script: failures that a vendor applies to its next requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PositiveInt, model_validator
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

# ASGI extension set by `SandboxTransport`: in-process there is no socket to close, so exceptions replace it.
IN_PROCESS = "pointsaga.in_process"

Kind = Literal[
    "latency", "status", "throttled", "drop", "execute_then_drop", "execute_late", "broken_json", "down", "hang",
    "trickle",
]  # fmt: skip
MAX_SECONDS = 600.0
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS)]

TRICKLED_BYTES = 30
"""A shorter body that is trickled begins with blanks, so that every one takes longer than clients wait."""


class Fault(BaseModel):
    """A fault in the script.

    Attributes:
        operation: a root field of Shopify's API, or `events`; None: any operation.
        account: only requests of this shop: its domain at Shopify, its API key at the others; None: any.
        kind: `latency` delays the request by `seconds`; `status` responds without executing; `throttled` is the
            vendor's rate limit response with `retry_after` seconds; `drop` closes the connection without executing;
            `execute_then_drop` executes first; `execute_late` executes `seconds` after closing; `broken_json`
            executes and responds with invalid JSON; `down` refuses connections; `hang` never responds and closes the
            connection after `seconds` (0: the maximum), without executing; `trickle` executes and sends the body of the
            response one byte per second.
        times: number of requests; None: until cleared, the default of `down`.
        body: response body of `status` and `broken_json`; text is sent as HTML, anything else as JSON.
        probability: share of requests that it applies to; repeatable with `seed`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    operation: str | None = None
    account: str | None = None
    kind: Kind
    times: PositiveInt | None = 1
    status: Annotated[int, Field(ge=200, le=599)] = 503
    seconds: Seconds = 0.0
    retry_after: Seconds | None = None
    probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int | None = None
    body: JsonValue = None

    @model_validator(mode="after")
    def _require_seconds(self) -> "Fault":
        if self.kind in {"latency", "execute_late"} and not self.seconds:
            raise ValueError(f"`{self.kind}` needs `seconds`")
        return self


@dataclass
class _ScriptedFault:
    fault: Fault
    left: int | None
    random: Random = field(repr=False)

    def consume(self, operation: str, account: str) -> bool:
        """Whether the fault applies to this request; counts it if so."""
        if self.left == 0 or self.fault.operation not in {None, operation}:
            return False
        if self.fault.account not in {None, account}:
            return False
        if self.random.random() >= self.fault.probability:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Script:
    """The faults of one vendor, in the order they were added."""

    def __init__(self) -> None:
        self._faults: list[_ScriptedFault] = []

    def add(self, fault: Fault) -> None:
        until_cleared = fault.kind == "down" and "times" not in fault.model_fields_set
        self._faults.append(_ScriptedFault(fault, None if until_cleared else fault.times, Random(fault.seed)))

    def clear(self) -> None:
        self._faults.clear()

    def view(self) -> list[dict[str, Any]]:
        """The remaining faults."""
        return [{**entry.fault.model_dump(), "left": entry.left} for entry in self._faults if entry.left != 0]

    async def next(self, operation: str, account: str) -> Fault | None:
        """Wait for the latency faults of this request, then return the first other fault that applies to it."""
        delay = 0.0
        found: Fault | None = None
        for entry in self._faults:
            if found is None and entry.consume(operation, account):
                if entry.fault.kind == "latency":
                    delay += entry.fault.seconds
                else:
                    found = entry.fault
        await asyncio.sleep(delay)
        return found


class ConnectionDropped(Exception):
    """In-process: the connection was closed before the response was complete."""


class ConnectionRefused(Exception):
    """In-process: the connection was refused."""


class ConnectionHangs(Exception):
    """In-process: nothing is sent for so many seconds; then the connection is closed."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the connection hangs for {seconds:g} s")
        self.seconds = seconds


class ResponseTrickles(Exception):
    """In-process: the body of this response is sent one byte per second."""

    def __init__(self, response: "Trickling") -> None:
        super().__init__("the response trickles")
        self.response = response


class Dropped(Response):
    """An incomplete response: uvicorn closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if IN_PROCESS in scope.get("extensions", {}):
            raise ConnectionDropped
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


class Hanging(Dropped):
    """No response, until the connection is closed after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if IN_PROCESS in scope.get("extensions", {}):
            raise ConnectionHangs(self._seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                while (await receive())["type"] != "http.disconnect":
                    pass
        await super().__call__(scope, receive, send)


class Trickling(StreamingResponse):
    """The response, with its body one byte per second, until the client closes the connection."""

    def __init__(self, response: Response) -> None:
        self._response = response
        body = (bytes(response.body) or b"{}").rjust(TRICKLED_BYTES)
        super().__init__(trickled(body), response.status_code, media_type=response.media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if IN_PROCESS in scope.get("extensions", {}):
            raise ResponseTrickles(self)
        await super().__call__(scope, receive, send)


async def trickled(body: bytes) -> AsyncIterator[bytes]:
    """One byte per second."""
    for byte in body:
        await asyncio.sleep(1)
        yield bytes([byte])


class Down(HTMLResponse):
    """A refused connection; over HTTP the 503 of a load balancer without servers."""

    def __init__(self) -> None:
        super().__init__("<html><body><h1>503 Service Unavailable</h1></body></html>", HTTPStatus.SERVICE_UNAVAILABLE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if IN_PROCESS in scope.get("extensions", {}):
            raise ConnectionRefused
        await super().__call__(scope, receive, send)
