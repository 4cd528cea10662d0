"""After the faults: wait until everything has ended, with the operators' help."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from temporalio.service import RPCError

from database import Sessions
from tests.chaos.operators import ExpirySchedule, Operators
from tests.chaos.processes import KILLED, ChaosStack
from tests.chaos.subscriber import Subscriber
from tests.chaos.vendors import Vendors

MAX_SECONDS = 180.0
ROUND_SECONDS = 30.0
"""Limit of one check, while parts are restarting."""

UNFINISHED = {
    "pending redemptions": "SELECT count(*) FROM redemptions WHERE status = 'pending'",
    "planned codes": "SELECT count(*) FROM discount_codes WHERE state = 'planned'",
    "pending refunds": "SELECT count(*) FROM refunds WHERE status = 'pending'",
    "pending reissues": "SELECT count(*) FROM reissues WHERE status = 'pending'",
    "unsent deliveries": "SELECT count(*) FROM deliveries WHERE status IN ('pending', 'failed')",
    "unprocessed webhooks": "SELECT count(*) FROM shopify_webhooks WHERE processed_at IS NULL",
    "expired lots with points": "SELECT count(*) FROM point_lots WHERE remaining > 0 AND expires_at <= now()",
}


@dataclass(frozen=True, kw_only=True)
class Recovery:
    stack: ChaosStack
    vendors: Vendors
    subscriber: Subscriber
    operators: Operators
    expiry: ExpirySchedule
    store: Sessions

    async def run(self, report: Callable[[str], None]) -> dict[str, int]:
        """Wait until nothing is unfinished, at most `MAX_SECONDS`. Returns what is unfinished then."""
        await self.vendors.heal()
        await self.subscriber.heal()
        began = time.monotonic()
        while True:
            unfinished = await self._check()
            elapsed = time.monotonic() - began
            listed = ", ".join(f"{number} {what}" for what, number in unfinished.items())
            report(f"{elapsed:.0f} s: {listed or 'everything has ended'}")
            if not (unfinished or self.vendors.may_execute) or elapsed > MAX_SECONDS:
                return unfinished
            await asyncio.sleep(1)

    async def _check(self) -> dict[str, int]:
        missing = len(KILLED) - len([part for part in KILLED if part in self.stack.pids])
        try:
            async with asyncio.timeout(ROUND_SECONDS):
                await self.operators.retry_rejected(self.store)
                await self.expiry.trigger()
                counts = {"open workflows": len(await self.operators.open_workflows()), **await self._counts()}
        except (OSError, DBAPIError, RPCError) as error:  # TimeoutError is an OSError
            return {f"parts out of reach ({type(error).__name__})": max(1, missing)}
        return {what: number for what, number in {"parts down": missing, **counts}.items() if number}

    async def _counts(self) -> dict[str, int]:
        async with self.store() as session:
            return {what: await session.scalar(text(query)) or 0 for what, query in UNFINISHED.items()}
