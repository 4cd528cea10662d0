"""Destinations that hang, trickle, flood or redirect for ever: real servers on loopback."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Destination:
    """A server. `connections`: how many it has accepted."""

    url: str = ""
    connections: int = 0


async def hang(_writer: asyncio.StreamWriter) -> None:
    """Answer nothing."""
    await asyncio.Event().wait()


async def trickle(writer: asyncio.StreamWriter) -> None:
    """Answer with a body of a byte every 50 ms, without end."""
    writer.write(_HEAD)
    while True:
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def flood(writer: asyncio.StreamWriter) -> None:
    """Answer with a body of 1 GB."""
    writer.write(_HEAD)
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    for _ in range(1024):
        writer.write(chunk)
        await writer.drain()


async def redirect(writer: asyncio.StreamWriter) -> None:
    """Redirect to itself."""
    writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


@asynccontextmanager
async def answering(answer: Answer) -> AsyncGenerator[Destination]:
    """A server that reads the head of each request, then answers so."""
    destination, running = Destination(), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        destination.connections += 1
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    destination.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield destination
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running)
