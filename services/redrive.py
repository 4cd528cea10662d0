"""Many redemptions and refunds set going again: at a bounded rate, a few at a time, and safe to interrupt.

Nothing is kept between two redrives. What is left to do is read anew from the ledger, and what was asked for twice is
done once: see `reprocessing`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from temporalio.service import RPCError

from services.actions import Action
from services.reprocessing import NotDone, NothingToDo, Reprocessing, Request
from services.stuck import REDRIVABLE, Finder, Stuck

AT_ONCE = 20

# So many failures in a row have one cause, such as no worker; 10,000 would only add their requests to it.
GIVE_UP_AFTER = 2 * AT_ONCE


class Result(StrEnum):
    """What came of one redemption."""

    ACTED = "acted"
    NOTHING_TO_DO = "nothing_to_do"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One redemption's result, and what was done or why not; `actions` are those that were taken."""

    redemption_id: str
    result: Result
    detail: str
    actions: Sequence[dict[str, Any]] = ()


Tell = Callable[[Outcome], None]


async def redrivable(finder: Finder, among: Sequence[str] | None = None) -> AsyncGenerator[Stuck]:
    """What is stuck and can be helped; among these redemptions only, if any are named."""
    async for one in finder.find(among=among):
        if one.kind in REDRIVABLE:
            yield one


async def redrive(reprocessing: Reprocessing, ids: Sequence[str], request: Request, *, rate: float, tell: Tell) -> None:
    """Set these redemptions going, at most `rate` a second; `tell` hears of each as it is done.

    Each is looked at again right before, so that whatever has happened since it was listed is left alone. When many
    in a row have failed, the rest is not tried.
    """
    waiting = iter(dict.fromkeys(ids))
    pace = _Pace(rate)
    in_a_row = 0

    async def work() -> None:
        nonlocal in_a_row
        for redemption_id in waiting:
            if in_a_row >= GIVE_UP_AFTER:
                tell(_failed(redemption_id, f"not tried, as {GIVE_UP_AFTER} in a row had failed"))
                continue
            await pace.turn()
            outcome = await _redrive_one(reprocessing, redemption_id, request)
            in_a_row = in_a_row + 1 if outcome.result is Result.FAILED else 0
            tell(outcome)

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(AT_ONCE):
                workers.create_task(work())
    except ExceptionGroup as errors:
        # The first says it all: what ends one ends them all.
        raise errors.exceptions[0] from None


async def act(reprocessing: Reprocessing, redemption_id: str, actions: Sequence[Action], request: Request) -> Outcome:
    """Perform what was planned for one redemption."""
    done: list[Action] = []
    why = "nothing is left to do, or its run is at it"
    for action in actions:
        try:
            await reprocessing.perform(action, request)
            done.append(action)
        except NothingToDo as reason:
            why = str(reason)
        except NotDone as reason:
            return _failed(redemption_id, str(reason), done)
    return Outcome(
        redemption_id=redemption_id,
        result=Result.ACTED if done else Result.NOTHING_TO_DO,
        detail="; ".join(map(str, done)) or why,
        actions=[action.facts() for action in done],
    )


async def _redrive_one(reprocessing: Reprocessing, redemption_id: str, request: Request) -> Outcome:
    try:
        planned = await reprocessing.plans.redrive(redemption_id)
    except RPCError as error:
        return _failed(redemption_id, f"{error.status.name}: {error.message}")
    return await act(reprocessing, redemption_id, planned, request)


def _failed(redemption_id: str, why: str, done: Sequence[Action] = ()) -> Outcome:
    actions = [action.facts() for action in done]
    return Outcome(redemption_id=redemption_id, result=Result.FAILED, detail=why, actions=actions)


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
