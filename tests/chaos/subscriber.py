"""A merchant's own system that hears of redemptions by webhook: careful, but at times away, failing, rude or slow."""

import asyncio
import hashlib
import hmac
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from domain.events import EventKind
from domain.subscriptions import EVENTS
from local_stack.ports import LOOPBACK
from tests.chaos.dice import Clock, dice
from tests.chaos.records import Tally

WELL_FOR_SECONDS = 3.0
TOO_SLOW_SECONDS = 11.0
"""Longer than a sender waits for an answer."""
YOUNG = timedelta(minutes=2)
_KINDS = {str(event): kind for kind, event in EVENTS.items()}


class Mood(StrEnum):
    """How it takes what comes."""

    WELL = "well"
    AWAY = "away"
    FAILS = "fails"
    BREAKS_OFF = "breaks off"
    DAWDLES = "dawdles"


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One request that came."""

    at: datetime
    headers: dict[str, str]
    body: bytes
    secret: str
    mood: Mood

    @property
    def id(self) -> UUID:
        """The delivery's."""
        return UUID(self.headers["x-webhook-id"])

    @property
    def kind(self) -> EventKind:
        """What happened."""
        return _KINDS[self.headers["x-webhook-event"]]

    @property
    def code(self) -> str:
        """Of whose redemption it tells."""
        content: dict[str, Any] = json.loads(self.body)
        return content["data"]["discount_code"]

    @property
    def is_thanked_for(self) -> bool:
        """Whether it was answered 200, in time."""
        return self.mood is Mood.WELL

    @property
    def fault(self) -> str | None:
        """Why it should not be believed."""
        timestamp = self.headers["x-webhook-timestamp"]
        expected = hmac.new(self.secret.encode(), f"{timestamp}.".encode() + self.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(f"sha256={expected}", self.headers["x-webhook-signature"]):
            return "the signature is wrong"
        age = self.at - datetime.fromisoformat(timestamp)
        return None if abs(age) < YOUNG else f"signed {age} ago"


class Subscriber:
    """Listens on a port of its own, which stays the same while it is away."""

    def __init__(self, tally: Tally, *, seed: int) -> None:
        self.heard: list[Heard] = []
        self.secret = ""
        """To be told by whoever subscribes it."""
        self._mood = Mood.WELL
        self._tally = tally
        self._chance = dice(seed, "subscriber")
        self._port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOOPBACK}:{self._port}/pointsaga"

    async def run(self, clock: Clock) -> None:
        """Until the clock has run out."""
        moods = [mood for mood in Mood if mood is not Mood.WELL]
        while await clock.rest(self._chance.expovariate(1 / WELL_FOR_SECONDS)):
            mood, seconds = self._chance.choice(moods), self._chance.uniform(1, 8)
            self._tally.spells[f"subscriber {mood}"] += 1
            self._tally.note(f"subscriber {mood} for {seconds:.1f} s")
            await self._become(mood)
            await clock.rest(seconds)
            await self.heal()

    async def heal(self) -> None:
        """It is well again."""
        await self._become(Mood.WELL)

    async def _become(self, mood: Mood) -> None:
        self._mood = mood
        if mood is Mood.AWAY:
            self._close()
        elif self._server is None:
            await self._open()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._answer, LOOPBACK, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            heard = await self._hear(reader)
            if heard.mood is Mood.DAWDLES:
                await asyncio.sleep(TOO_SLOW_SECONDS)
            if heard.mood not in (Mood.AWAY, Mood.BREAKS_OFF):
                status = "503 Not now" if heard.mood is Mood.FAILS else "200 Thanks"
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        writer.close()

    async def _hear(self, reader: asyncio.StreamReader) -> Heard:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        body = await reader.readexactly(int(headers["content-length"]))
        heard = Heard(at=datetime.now(UTC), headers=headers, body=body, secret=self.secret, mood=self._mood)
        self.heard.append(heard)
        return heard
