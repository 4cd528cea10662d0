"""Vendors that misbehave, each by dice of its own: a fault is let loose for a while, then all is well for a while."""

import asyncio
import time
from collections import Counter
from http import HTTPStatus
from random import Random
from typing import Any

import httpx

from tests.chaos.dice import Clock, dice
from tests.chaos.records import Tally
from tests.chaos.world import DOMAIN, Json

VENDORS = ("shopify", "klaviyo", "omnisend", "postscript")
WELL_FOR_SECONDS = 2.5
LATEST = 12.0
"""The longest after which what a vendor was asked for still happens."""


class Vendors:
    """The sandbox, from behind."""

    def __init__(self, http: httpx.AsyncClient, tally: Tally, *, seed: int) -> None:
        self._http = http
        self._tally = tally
        self._seed = seed
        self._echoes_until = time.monotonic()

    @property
    def echoes(self) -> bool:
        """Whether something that a vendor was asked for may still happen."""
        return time.monotonic() < self._echoes_until

    async def give_plan(self) -> None:
        """Let the shop ask Shopify often."""
        answer = await self._http.put(f"/_sandbox/shopify/shops/{DOMAIN}", json={"restore_rate": 1000})
        answer.raise_for_status()

    async def run(self, clock: Clock) -> None:
        """Until the clock has run out."""
        async with asyncio.TaskGroup() as vendors:
            for vendor in VENDORS:
                vendors.create_task(self._misbehave(vendor, clock))

    async def look(self, vendor: str) -> Json:
        """What the vendor knows now."""
        return (await self._http.get(f"/_sandbox/{vendor}")).raise_for_status().json()

    async def use(self, code: str) -> bool:
        """A customer orders with the code, and Shopify counts it; False when the code does not work."""
        answer = await self._http.post(f"/_sandbox/shopify/shops/{DOMAIN}/uses", json={"code": code})
        if answer.status_code != HTTPStatus.CONFLICT:
            answer.raise_for_status()
        return answer.is_success

    async def heal(self) -> None:
        """All of them are well again."""
        for vendor in VENDORS:
            await self._clear(vendor)

    async def struck(self) -> Counter[str]:
        """Vendor and fault → requests it met, among the last ten thousand."""
        calls = [(vendor, call) for vendor in VENDORS for call in (await self.look(vendor))["calls"]]
        return Counter(f"{vendor} {call['fault']}" for vendor, call in calls if call["fault"])

    async def _misbehave(self, vendor: str, clock: Clock) -> None:
        chance = dice(self._seed, vendor)
        while await clock.rest(chance.expovariate(1 / WELL_FOR_SECONDS)):
            faults, seconds = _spell(chance)
            for fault in faults:
                answer = await self._http.post(f"/_sandbox/{vendor}/faults", json=fault)
                answer.raise_for_status()
                self._tally.spells[f"{vendor} {_word(fault)}"] += 1
            self._tally.note(f"{vendor} for {seconds:.1f} s: {' and '.join(map(_word, faults))}")
            await clock.rest(seconds)
            await self._clear(vendor)
            late = max((fault["seconds"] for fault in faults if fault["kind"] == "execute_late"), default=0)
            self._echoes_until = max(self._echoes_until, time.monotonic() + late)

    async def _clear(self, vendor: str) -> None:
        (await self._http.delete(f"/_sandbox/{vendor}/faults")).raise_for_status()


def _spell(chance: Random) -> tuple[list[Json], float]:
    """Faults that come together, and for how long."""
    number = chance.choices((1, 2, 3), (60, 30, 10))[0]
    faults = [_fault(chance) for _ in range(number)]
    short = any(fault["kind"] == "down" or fault.get("status") == 401 for fault in faults)
    return faults, chance.uniform(0.5, 3.0) if short else chance.uniform(2.0, 10.0)


def _fault(chance: Random) -> Json:
    kinds: list[Json] = [
        {"kind": "status", "status": chance.choice((500, 502, 503, 504))},
        {"kind": "status", "status": 401},
        {"kind": "drop"},
        {"kind": "execute_then_drop"},
        {"kind": "execute_late", "seconds": round(chance.uniform(0.3, LATEST), 1)},
        {"kind": "broken_json"},
        {"kind": "throttled", "retry_after": chance.choice((1, 2, 5))},
        {"kind": "latency", "seconds": round(chance.uniform(0.2, 6.0), 1)},
        {"kind": "down"},
    ]
    fault = chance.choice(kinds)
    likely = 1.0 if fault["kind"] == "down" else chance.choice((0.1, 0.3, 0.6, 1.0))
    return {**fault, "times": None, "probability": likely, "seed": chance.randrange(10**6)}


def _word(fault: dict[str, Any]) -> str:
    return f"{fault['kind']} {fault['status']}" if fault["kind"] == "status" else fault["kind"]
