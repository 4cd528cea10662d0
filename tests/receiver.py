"""A webhook subscriber: a real server on loopback that can be down, slow or return errors."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Received:
    """A received request; `line` is its request line."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        """The parsed body."""
        return json.loads(self.body)


async def read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
    return Received(head[0], headers, await reader.readexactly(int(headers["content-length"])))


@dataclass
class Receiver:
    """Responds with the statuses of `script` in order, then with 200.

    Attributes:
        seconds: delay of each response.
        extra: additional header lines of each response.
    """

    script: list[int] = field(default_factory=list[int])
    seconds: float = 0
    extra: str = ""
    tls: ssl.SSLContext | None = None
    received: list[Received] = field(default_factory=list[Received])
    port: int = 0
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks?shop=1"

    @property
    def ids(self) -> list[str]:
        """The delivery ids in order of arrival."""
        return [one.headers["x-webhook-id"] for one in self.received]

    async def open(self) -> None:
        """Listen; after `close`, on the same port."""
        self._server = await asyncio.start_server(self._respond, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening: connections are refused."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            self.received.append(await read_request(reader))
            status = self.script.pop(0) if self.script else 200
            await asyncio.sleep(self.seconds)
            writer.write(f"HTTP/1.1 {status} So\r\nContent-Length: 2\r\n{self.extra}\r\nok".encode())
            await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(**options: Any) -> AsyncGenerator[Receiver]:
    """A receiver that listens inside the block."""
    receiver = Receiver(**options)
    await receiver.open()
    try:
        yield receiver
    finally:
        await receiver.close()
