"""The vendor sandbox: faults of the noisy shop are switched on at random, each vendor from its own stream, and off."""

import asyncio
import time
from collections import Counter
from http import HTTPStatus
from random import Random

import httpx

from tests.builders import ALL_VENDORS
from tests.chaos.log import RunLog
from tests.chaos.randomness import Clock, random_stream
from tests.chaos.shop import ChaosShop
from tests.evidence import Json
from tests.faults import VendorFault

HEALTHY_SECONDS = 2.5
MAX_DELAY = 12.0
"""Seconds until a vendor executes a request at the latest."""
MAX_HANG = 10.0
SLOWEST = {"hang", "trickle"}
"""Kinds of faults that hold a caller until its time-out."""


class Vendors:
    """Of one shop. `may_hang`: whether faults hold a caller until its time-out."""

    def __init__(self, http: httpx.AsyncClient, shop: ChaosShop, log: RunLog, *, seed: int) -> None:
        self.http = http
        self.may_hang = True
        self._shop = shop
        self._log = log
        self._seed = seed
        self._executes_until = time.monotonic()

    @property
    def may_execute(self) -> bool:
        """Whether a vendor may still execute a delayed request."""
        return time.monotonic() < self._executes_until

    async def raise_rate_limit(self) -> None:
        """Of the shop, at Shopify."""
        plan = await self.http.put(f"/_sandbox/shopify/shops/{self._shop.domain}", json={"restore_rate": 1000})
        plan.raise_for_status()

    async def run(self, clock: Clock) -> None:
        async with asyncio.TaskGroup() as group:
            for vendor in ALL_VENDORS:
                group.create_task(self._disturb(vendor, clock))

    async def use(self, code: str) -> bool:
        """Let an order use the code. False: it does not work."""
        response = await self.http.post(f"/_sandbox/shopify/shops/{self._shop.domain}/uses", json={"code": code})
        if response.status_code != HTTPStatus.CONFLICT:
            response.raise_for_status()
        return response.is_success

    async def heal(self) -> None:
        for vendor in ALL_VENDORS:
            await self._clear_faults(vendor)

    async def faults_met(self) -> Counter[str]:
        """How many requests met each vendor's faults, among the last ten thousand."""
        views = {vendor: (await self.http.get(f"/_sandbox/{vendor}")).json() for vendor in ALL_VENDORS}
        calls = [(vendor, call) for vendor, view in views.items() for call in view["calls"]]
        return Counter(f"{vendor} {call['fault']}" for vendor, call in calls if call["fault"])

    async def _disturb(self, vendor: str, clock: Clock) -> None:
        random = random_stream(self._seed, vendor)
        while await clock.sleep(random.expovariate(1 / HEALTHY_SECONDS)):
            faults, seconds = _disturbance(random)
            faults = [fault for fault in faults if self.may_hang or fault["kind"] not in SLOWEST]
            for fault in faults:
                script = {**fault, "account": self._shop.accounts[vendor]}
                (await self.http.post(f"/_sandbox/{vendor}/faults", json=script)).raise_for_status()
                self._log.faults[f"{vendor} {_name(fault)}"] += 1
            self._log.add(f"{vendor} for {seconds:.1f} s: {' and '.join(map(_name, faults))}")
            await clock.sleep(seconds)
            await self._clear_faults(vendor)
            delay = max((fault["seconds"] for fault in faults if fault["kind"] == "execute_late"), default=0)
            self._executes_until = max(self._executes_until, time.monotonic() + delay)

    async def _clear_faults(self, vendor: str) -> None:
        (await self.http.delete(f"/_sandbox/{vendor}/faults")).raise_for_status()


def _disturbance(random: Random) -> tuple[list[Json], float]:
    """Faults that are switched on together, and for how many seconds."""
    number = random.choices((1, 2, 3), (60, 30, 10))[0]
    faults = [_fault(random) for _ in range(number)]
    short = any(fault["kind"] == "down" or fault.get("status") == HTTPStatus.UNAUTHORIZED for fault in faults)
    return faults, random.uniform(0.5, 3.0) if short else random.uniform(2.0, 10.0)


def _fault(random: Random) -> Json:
    scripts = [
        VendorFault.SERVER_ERROR.script(status=random.choice((500, 502, 503, 504))),
        VendorFault.UNAUTHORIZED.script(),
        VendorFault.DROPPED.script(),
        VendorFault.LOST.script(),
        VendorFault.LATE.script(seconds=round(random.uniform(0.3, MAX_DELAY), 1)),
        VendorFault.GARBLED.script(),
        VendorFault.THROTTLED.script(retry_after=random.choice((1, 2, 5))),
        VendorFault.SLOW.script(seconds=round(random.uniform(0.2, 6.0), 1)),
        VendorFault.HANGING.script(seconds=round(random.uniform(1, MAX_HANG), 1)),
        VendorFault.TRICKLING.script(),
        VendorFault.DOWN.script(),
    ]
    script = random.choice(scripts)
    probability = 1.0 if script["kind"] == "down" else random.choice((0.1, 0.3, 0.6, 1.0))
    return {**script, "times": None, "probability": probability, "seed": random.randrange(10**6)}


def _name(fault: Json) -> str:
    return f"{fault['kind']} {fault['status']}" if fault["kind"] == "status" else fault["kind"]
