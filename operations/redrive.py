"""Many redemptions set going again: at a bounded rate, a few at a time, and safe to interrupt.

Nothing is kept between two redrives. What is left to do is read anew from the ledger, and what was asked for twice is
done once: see `reprocessing`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from temporalio.service import RPCError

from operations.reprocessing import Action, NotDone, NothingToDo, Reprocessing, Request
from operations.stuck import REDRIVABLE, Finder, Stuck

AT_ONCE = 20


class Result(StrEnum):
    """What came of one redemption."""

    ACTED = "acted"
    NOTHING_TO_DO = "nothing_to_do"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One redemption's result, and what was done or why not."""

    redemption_id: str
    result: Result
    detail: str


Tell = Callable[[Outcome], None]


async def redrivable(finder: Finder, among: Sequence[str] | None = None) -> AsyncGenerator[Stuck]:
    """What is stuck and can be helped; among these redemptions only, if any are named."""
    async for one in finder.find(among=among):
        if one.kind in REDRIVABLE:
            yield one


async def redrive(reprocessing: Reprocessing, ids: Sequence[str], request: Request, *, rate: float, tell: Tell) -> None:
    """Set these redemptions going, at most `rate` a second; `tell` hears of each as it is done.

    Each is looked at again right before, so that whatever has happened since it was listed is left alone.
    """
    waiting = iter(dict.fromkeys(ids))
    pace = _Pace(rate)

    async def work() -> None:
        for redemption_id in waiting:
            await pace.turn()
            tell(await _redrive_one(reprocessing, redemption_id, request))

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(AT_ONCE):
                workers.create_task(work())
    except ExceptionGroup as errors:
        # The first says it all: what ends one ends them all.
        raise errors.exceptions[0] from None


async def act(reprocessing: Reprocessing, redemption_id: str, actions: Sequence[Action], request: Request) -> Outcome:
    """Perform what was planned for one redemption."""
    done: list[str] = []
    why = "nothing is left to do, or its run is at it"
    for action in actions:
        try:
            await reprocessing.perform(action, request)
            done.append(str(action))
        except NothingToDo as reason:
            why = str(reason)
        except NotDone as reason:
            return Outcome(redemption_id=redemption_id, result=Result.FAILED, detail=str(reason))
    result = Result.ACTED if done else Result.NOTHING_TO_DO
    return Outcome(redemption_id=redemption_id, result=result, detail="; ".join(done) or why)


async def _redrive_one(reprocessing: Reprocessing, redemption_id: str, request: Request) -> Outcome:
    try:
        planned = await reprocessing.plan_redrive(redemption_id)
    except RPCError as error:
        return Outcome(
            redemption_id=redemption_id, result=Result.FAILED, detail=f"{error.status.name}: {error.message}"
        )
    return await act(reprocessing, redemption_id, planned, request)


class _Pace:
    """Turns, no more than so many a second. Time that nobody used is not made up for."""

    def __init__(self, rate: float) -> None:
        self._pause = 1 / rate
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for one."""
        now = asyncio.get_running_loop().time()
        mine = max(now, self._next)
        self._next = mine + self._pause
        await asyncio.sleep(mine - now)
