"""The rounds that close what has had its time: every few seconds here, every hour elsewhere."""

from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from services.schedules import EXPIRE
from tests.chaos.dice import Clock, dice
from tests.chaos.records import Tally

EVERY_SECONDS = 5.0
PATIENCE = timedelta(seconds=5)


class Expiry:
    """Triggers the schedule; a round that is still under way is left alone."""

    def __init__(self, temporal: Client, tally: Tally, *, seed: int) -> None:
        self._schedule = temporal.get_schedule_handle(EXPIRE)
        self._tally = tally
        self._chance = dice(seed, "expiry")

    async def run(self, clock: Clock) -> None:
        """Until the clock has run out."""
        while await clock.rest(self._chance.expovariate(1 / EVERY_SECONDS)):
            try:
                await self.trigger()
            except RPCError as error:
                self._tally.note(f"expiry came to nothing: {error.status.name}")

    async def trigger(self) -> None:
        """Ask for a round now."""
        await self._schedule.trigger(rpc_timeout=PATIENCE)
        self._tally.acts["expiry"] += 1
