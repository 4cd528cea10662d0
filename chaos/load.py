"""Customers who buy: alone or twice at once, stubborn or not, some to ask again after they had their answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

import httpx

from chaos.dice import Clock, dice
from chaos.records import Answer, Purchase
from chaos.world import COSTS, FULL_KEY, MODEST, POOR, RICH, UNKNOWN_CUSTOMER, UNKNOWN_REWARD

EACH_SECOND = 4.0
AT_ONCE = 24
"""Customers in the shop; more wait at the door. Faults are to bring the parts down, not a queue."""
BURST, BURST_CHANCE = 10, 0.02
REWARDS = [*COSTS, UNKNOWN_REWARD]
WEIGHTS = [30, 30, 27, 12, 1]


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a customer goes about one purchase: all decided before it begins."""

    customer: str
    reward: str
    at_once: int
    tries: int
    asks_again_after: float | None
    pauses: Sequence[float]
    first_api: int


class Load:
    """Lets customers in, whatever becomes of those before them."""

    def __init__(self, apis: Sequence[httpx.AsyncClient], *, seed: int) -> None:
        self.purchases: list[Purchase] = []
        self.visiting = 0
        self._room = asyncio.Semaphore(AT_ONCE)
        self._apis = apis
        self._seed = seed

    async def run(self, clock: Clock) -> None:
        """Until the clock has run out, and the last customer has gone."""
        door = dice(self._seed, "door")
        async with asyncio.TaskGroup() as visits:
            while await clock.rest(door.expovariate(EACH_SECOND)):
                for _ in range(BURST if door.random() < BURST_CHANCE else 1):
                    await self._room.acquire()
                    visits.create_task(self._visit(len(self.purchases)))
                    await asyncio.sleep(0)

    async def ask_again(self, purchase: Purchase) -> None:
        """When all is over: the same key once more."""
        purchase.afterwards.append(await self._send(purchase, 0))

    async def _visit(self, number: int) -> None:
        manner = _manner(dice(self._seed, "customer", number))
        purchase = Purchase(key=f"chaos-{self._seed}-{number}", customer=manner.customer, reward=manner.reward)
        self.purchases.append(purchase)
        self.visiting += 1
        async with asyncio.TaskGroup() as requests:
            for api in range(manner.at_once):
                requests.create_task(self._insist(purchase, manner, manner.first_api + api))
        if manner.asks_again_after is not None:
            await asyncio.sleep(manner.asks_again_after)
            purchase.answers.append(await self._send(purchase, manner.first_api + 1))
        self.visiting -= 1
        self._room.release()

    async def _insist(self, purchase: Purchase, manner: Manner, api: int) -> None:
        """Ask until there is a decided answer, or the customer has had enough."""
        for number in range(manner.tries):
            answer = await self._send(purchase, api + number)
            purchase.answers.append(answer)
            if answer.is_decided:
                return
            await asyncio.sleep(manner.pauses[number])

    async def _send(self, purchase: Purchase, number: int) -> Answer:
        api, name = self._apis[number % len(self._apis)], ("api", "api-2")[number % len(self._apis)]
        began = datetime.now(UTC)
        try:
            said = await api.post(
                f"/v1/rewards/{purchase.reward}/purchase",
                headers={"Authorization": FULL_KEY, "Idempotency-Key": purchase.key},
                json={"customer_identifier": purchase.customer},
            )
        except httpx.TransportError as error:
            return Answer(api=name, began=began, ended=datetime.now(UTC), status=None, text=repr(error))
        return Answer(api=name, began=began, ended=datetime.now(UTC), status=said.status_code, text=said.text)


def _manner(chance: Random) -> Manner:
    tries = chance.choice((1, 1, 3, 6))
    return Manner(
        customer=_customer(chance),
        reward=chance.choices(REWARDS, WEIGHTS)[0],
        at_once=chance.choices((1, 2, 3), (85, 12, 3))[0],
        tries=tries,
        asks_again_after=chance.uniform(0, 10) if chance.random() < 0.1 else None,
        pauses=[chance.uniform(0.5, 6.0) for _ in range(tries)],
        first_api=chance.randrange(2),
    )


def _customer(chance: Random) -> str:
    [kind] = chance.choices((RICH, MODEST, POOR, [UNKNOWN_CUSTOMER]), (80, 14, 5, 1))
    return chance.choice(kind)
