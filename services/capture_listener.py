"""Wakes purchases as soon as their capture is committed, by PostgreSQL's NOTIFY.

Temporal reports the same later, after another workflow task. A lost notification costs that time and nothing else.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.captures import NOTIFICATIONS

RECONNECT_SECONDS = 1.0

log = structlog.stdlib.get_logger("captures")


class CaptureListener:
    """Listens on a database connection of its own."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._expected: dict[str, list[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Listen until the block ends, whether the database can be reached or not."""
        listening = asyncio.create_task(self._listen())
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    @contextmanager
    def expect(self, redemption_id: str) -> Generator[asyncio.Future[None]]:
        """A future that is done once a capture of the redemption is notified."""
        captured: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._expected.setdefault(redemption_id, []).append(captured)
        try:
            yield captured
        finally:
            self._expected[redemption_id].remove(captured)
            if not self._expected[redemption_id]:
                del self._expected[redemption_id]

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_until_disconnected()
                log.warning("the database has closed the connection that reports captures")
            except (OSError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("captures are not reported by the database", kind=type(error).__name__)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_until_disconnected(self) -> None:
        disconnected = asyncio.Event()
        async with self._engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection

            def end(_connection: object) -> None:
                disconnected.set()

            driver.add_termination_listener(end)
            await driver.add_listener(NOTIFICATIONS, self._receive)
            await disconnected.wait()
            await connection.invalidate()

    def _receive(self, _connection: object, _pid: int, _channel: str, redemption_id: object) -> None:
        for captured in self._expected.get(str(redemption_id), ()):
            if not captured.done():
                captured.set_result(None)
