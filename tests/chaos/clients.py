"""A shop's clients of both APIs, and how persistently a request is repeated."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Self

import httpx

from tests.chaos.requests import AnyRequest, http_request
from tests.chaos.shop import ChaosShop
from tests.evidence import Answer

NAMES = ("api", "api-2")


@dataclass(frozen=True, kw_only=True)
class Persistence:
    """How a request is sent, decided before it begins.

    Attributes:
        parallel: copies that are sent at the same time.
        pauses: seconds after each attempt; as many attempts are made until an answer is final.
        repeat_after: seconds after the last answer until the request is sent once more.
        first_api: index of the API for the first attempt; the next attempt uses the other one.
    """

    parallel: int
    pauses: Sequence[float]
    repeat_after: float | None
    first_api: int

    @classmethod
    def choose(cls, random: Random, *, attempts: Sequence[int] = (1, 1, 3, 6)) -> Self:
        return cls(
            parallel=random.choices((1, 2, 3), (85, 12, 3))[0],
            pauses=[random.uniform(0.5, 6.0) for _ in range(random.choice(attempts))],
            repeat_after=random.uniform(0, 10) if random.random() < 0.1 else None,
            first_api=random.randrange(2),
        )


class ApiClients:
    def __init__(self, clients: Sequence[httpx.AsyncClient], shop: ChaosShop) -> None:
        self._clients = clients
        self._shop = shop

    async def persist(self, request: AnyRequest, persistence: Persistence) -> None:
        """Send the request until its answer is final or the attempts are used up. Every answer is stored with it."""
        async with asyncio.TaskGroup() as group:
            for number in range(persistence.parallel):
                group.create_task(self._repeat(request, persistence, persistence.first_api + number))
        if persistence.repeat_after is not None:
            await asyncio.sleep(persistence.repeat_after)
            request.answers.append(await self.send(request, persistence.first_api + 1))

    async def send(self, request: AnyRequest, api: int = 0) -> Answer:
        """Send the request once."""
        api, began = api % len(NAMES), datetime.now(UTC)
        path, headers, body = http_request(request, self._shop)
        try:
            response = await self._clients[api].post(path, headers=headers, content=body)
            status, text = response.status_code, response.text
        except httpx.TransportError as error:
            status, text = None, repr(error)
        return Answer(api=NAMES[api], began=began, ended=datetime.now(UTC), status=status, text=text)

    async def _repeat(self, request: AnyRequest, persistence: Persistence, first_api: int) -> None:
        for attempt, pause in enumerate(persistence.pauses):
            answer = await self.send(request, first_api + attempt)
            request.answers.append(answer)
            if request.is_decided_by(answer):
                return
            await asyncio.sleep(pause)
