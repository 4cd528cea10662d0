"""After the faults: everything is given the time, and the operators, to come to its end."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from temporalio.service import RPCError

from database import Sessions
from tests.chaos.expiry import Expiry
from tests.chaos.fleet import MORTAL, Fleet
from tests.chaos.operators import Operators
from tests.chaos.subscriber import Subscriber
from tests.chaos.vendors import Vendors

PATIENCE_SECONDS = 180.0
TOGETHER_SECONDS = 30.0
"""How long one look may take, while parts are still coming back."""

OPEN = {
    "pending redemptions": "SELECT count(*) FROM redemptions WHERE status = 'pending'",
    "codes not settled": "SELECT count(*) FROM discount_codes WHERE state = 'planned'",
    "refunds not through": "SELECT count(*) FROM refunds WHERE state = 'pending'",
    "deliveries not made": "SELECT count(*) FROM deliveries WHERE status IN ('pending', 'failed')",
    "webhooks not processed": "SELECT count(*) FROM shopify_webhooks WHERE processed_at IS NULL",
    "lots not emptied": "SELECT count(*) FROM point_lots WHERE remaining > 0 AND expires_at <= now()",
}


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Waits for the end of everything, and helps as an operator would."""

    fleet: Fleet
    vendors: Vendors
    subscriber: Subscriber
    operators: Operators
    expiry: Expiry
    store: Sessions

    async def run(self, tell: Callable[[str], None]) -> dict[str, int]:
        """Return once all is settled, or patience has run out; what is still open then."""
        await self.vendors.heal()
        await self.subscriber.heal()
        began = time.monotonic()
        while True:
            is_open = await self._look()
            gone = time.monotonic() - began
            tell(f"{gone:.0f} s: " + (", ".join(f"{number} {what}" for what, number in is_open.items()) or "settled"))
            if not (is_open or self.vendors.echoes) or gone > PATIENCE_SECONDS:
                return is_open
            await asyncio.sleep(1)

    async def _look(self) -> dict[str, int]:
        missing = len(MORTAL) - len([part for part in MORTAL if part in self.fleet.pids])
        try:
            async with asyncio.timeout(TOGETHER_SECONDS):
                await self.operators.retry_refused(self.store)
                await self.expiry.trigger()
                counts = {"runs open": len(await self.operators.open_runs()), **await self._counts()}
        except (OSError, DBAPIError, RPCError) as error:
            # TimeoutError is an OSError: whatever it is, it is not the end yet.
            return {f"parts out of reach ({type(error).__name__})": max(1, missing)}
        return {what: number for what, number in {"parts away": missing, **counts}.items() if number}

    async def _counts(self) -> dict[str, int]:
        async with self.store() as session:
            return {what: await session.scalar(text(query)) or 0 for what, query in OPEN.items()}
