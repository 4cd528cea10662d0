"""Both APIs, and people who insist: they ask until they are told something final, or have had enough."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Self

import httpx

from tests.chaos.records import Answer
from tests.chaos.wishes import Wish

NAMES = ("api", "api-2")


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How somebody goes about one wish: all decided before it begins."""

    at_once: int
    pauses: Sequence[float]
    """One for each try that may be made, after it."""
    asks_again_after: float | None
    first_api: int

    @classmethod
    def of(cls, chance: Random, *, tries: Sequence[int] = (1, 1, 3, 6)) -> Self:
        """Alone or twice at once, stubborn or not, some to ask again after they had their answer."""
        return cls(
            at_once=chance.choices((1, 2, 3), (85, 12, 3))[0],
            pauses=[chance.uniform(0.5, 6.0) for _ in range(chance.choice(tries))],
            asks_again_after=chance.uniform(0, 10) if chance.random() < 0.1 else None,
            first_api=chance.randrange(2),
        )


class Apis:
    """Where wishes go."""

    def __init__(self, clients: Sequence[httpx.AsyncClient]) -> None:
        self._clients = clients

    async def insist(self, wish: Wish, manner: Manner) -> None:
        """Have a wish come true, or give up; every answer is kept with the wish."""
        async with asyncio.TaskGroup() as requests:
            for number in range(manner.at_once):
                requests.create_task(self._insist(wish, manner, manner.first_api + number))
        if manner.asks_again_after is not None:
            await asyncio.sleep(manner.asks_again_after)
            wish.answers.append(await self.ask(wish, manner.first_api + 1))

    async def ask(self, wish: Wish, number: int = 0) -> Answer:
        """Ask once; the number says which API."""
        which, request, began = number % len(NAMES), wish.request, datetime.now(UTC)
        headers = {"Content-Type": "application/json", **request.headers}
        try:
            said = await self._clients[which].post(request.path, headers=headers, content=request.body)
        except httpx.TransportError as error:
            return Answer(api=NAMES[which], began=began, ended=datetime.now(UTC), status=None, text=repr(error))
        return Answer(api=NAMES[which], began=began, ended=datetime.now(UTC), status=said.status_code, text=said.text)

    async def _insist(self, wish: Wish, manner: Manner, number: int) -> None:
        for tried, pause in enumerate(manner.pauses):
            answer = await self.ask(wish, number + tried)
            wish.answers.append(answer)
            if answer.is_decided:
                return
            await asyncio.sleep(pause)
