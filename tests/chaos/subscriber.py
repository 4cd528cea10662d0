"""A merchant's system that receives webhooks. At times it is down, fails, closes the connection or is slow."""

import asyncio
import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self

from domain.events import EventKind
from domain.subscriptions import SENT_EVENTS
from tests.chaos.log import RunLog
from tests.chaos.randomness import Clock, random_stream
from tests.receiver import Received, Receiver, read_request

HEALTHY_SECONDS = 3.0
TOO_SLOW_SECONDS = 11.0
"""Longer than a sender waits for an answer."""
MAX_AGE = timedelta(minutes=2)
_EVENTS = {str(name): event for event, name in SENT_EVENTS.items()}


class Condition(StrEnum):
    """How it treats a request."""

    HEALTHY = "healthy"
    DOWN = "down"
    FAILING = "failing"
    DISCONNECTING = "disconnecting"
    SLOW = "slow"


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A received request, with the secret and the condition at that time."""

    request: Received
    secret: str
    condition: Condition
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def id(self) -> str:
        return self.request.headers["x-webhook-id"]

    @property
    def event(self) -> EventKind:
        return _EVENTS[self.request.headers["x-webhook-event"]]

    @property
    def code(self) -> str:
        """What the event names: the code, or the redemption of a failed purchase."""
        data = self.request.content["data"]
        return data.get("discount_code") or data["reward_history_entry_id"]

    @property
    def customer(self) -> str:
        return self.request.content["data"]["shopify_customer_id"]

    @property
    def problem(self) -> str | None:
        """Why the subscriber must not trust the request."""
        timestamp = self.request.headers["x-webhook-timestamp"]
        signed = f"{timestamp}.".encode() + self.request.body
        expected = hmac.new(self.secret.encode(), signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(f"sha256={expected}", self.request.headers["x-webhook-signature"]):
            return "the signature is wrong"
        age = self.at - datetime.fromisoformat(timestamp)
        return None if abs(age) < MAX_AGE else f"signed {age} ago"


class Subscriber(Receiver):
    """Keeps its port while it is down. `secret` is set once it is subscribed."""

    def __init__(self, log: RunLog, *, seed: int) -> None:
        super().__init__()
        self.webhooks: list[Webhook] = []
        self.secret = ""
        self._condition = Condition.HEALTHY
        self._log = log
        self._random = random_stream(seed, "subscriber")

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, clock: Clock) -> None:
        unhealthy = [condition for condition in Condition if condition is not Condition.HEALTHY]
        while await clock.sleep(self._random.expovariate(1 / HEALTHY_SECONDS)):
            condition, seconds = self._random.choice(unhealthy), self._random.uniform(1, 8)
            self._log.faults[f"subscriber {condition}"] += 1
            self._log.add(f"subscriber {condition} for {seconds:.1f} s")
            self._condition = condition
            if condition is Condition.DOWN:
                await self.close()
            await clock.sleep(seconds)
            await self.heal()

    async def heal(self) -> None:
        self._condition = Condition.HEALTHY
        if self._server is None:
            await self.open()

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await read_request(reader)
            condition = self._condition
            self.webhooks.append(Webhook(request=request, secret=self.secret, condition=condition))
            if condition is Condition.SLOW:
                await asyncio.sleep(TOO_SLOW_SECONDS)
            if condition not in (Condition.DOWN, Condition.DISCONNECTING):
                status = "503 Unavailable" if condition is Condition.FAILING else "200 OK"
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        writer.close()
