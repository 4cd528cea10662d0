"""Redrive: resume many stalled purchases and refunds, with limited rate and concurrency.

A redrive keeps no state and can be interrupted: what is left to do is read from the ledger, and actions are idempotent.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from temporalio.service import RPCError

from db.tables import Delivery
from domain.deliveries import DeliveryStatus
from domain.events import channel_label
from services.actions import Action, ActionFailed, Actions, NothingToDo, Operator

CONCURRENCY = 20

# So many consecutive failures have a common cause, such as no worker. More requests would only add load.
MAX_CONSECUTIVE_FAILURES = 2 * CONCURRENCY


class Result(StrEnum):
    ACTED = "acted"
    NOTHING_TO_DO = "nothing_to_do"
    FAILED = "failed"
    REFUSED_AGAIN = "refused_again"
    """Acted, and the vendor rejected the delivery once more."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result for one redemption. The names are keys of the commands' --json.

    Attributes:
        detail: what was done, or why not.
        actions: the actions that were performed.
        outcomes: of the deliveries concerned, after a few seconds.
    """

    redemption_id: str
    result: Result
    detail: str
    actions: Sequence[dict[str, Any]] = ()
    outcomes: Sequence[str] = ()


async def redrive(
    actions: Actions, ids: Sequence[str], operator: Operator, *, rate: float, on_outcome: Callable[[Outcome], None]
) -> None:
    """Redrive these redemptions, at most `rate` per second, until MAX_CONSECUTIVE_FAILURES have failed.

    Actions are planned right before they are performed, so that a redemption that has progressed meanwhile is skipped.
    """
    remaining = iter(dict.fromkeys(ids))
    limiter = _RateLimiter(rate)
    consecutive_failures = 0

    async def work() -> None:
        nonlocal consecutive_failures
        for redemption_id in remaining:
            if consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
                detail = f"not attempted after {MAX_CONSECUTIVE_FAILURES} consecutive failures"
                on_outcome(_failed(redemption_id, detail))
                continue
            await limiter.wait()
            outcome = await _redrive_one(actions, redemption_id, operator)
            consecutive_failures = consecutive_failures + 1 if outcome.result is Result.FAILED else 0
            on_outcome(outcome)

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(CONCURRENCY):
                workers.create_task(work())
    except ExceptionGroup as errors:
        # The other workers' errors have the same cause.
        raise errors.exceptions[0] from None


async def perform_planned(
    actions: Actions, redemption_id: str, planned: Sequence[Action], operator: Operator
) -> Outcome:
    """Perform the actions that were planned for one redemption."""
    performed: list[Action] = []
    reason = "nothing is left to do, or it continues by itself"
    for action in planned:
        try:
            await actions.perform(action, operator)
            performed.append(action)
        except NothingToDo as error:
            reason = str(error)
        except ActionFailed as error:
            return _failed(redemption_id, str(error), performed)
    deliveries = await actions.outcomes(performed)
    return Outcome(
        redemption_id=redemption_id,
        result=_result(performed, deliveries),
        detail="; ".join(map(str, performed)) or reason,
        actions=[action.as_json() for action in performed],
        outcomes=[_words(one) for one in deliveries],
    )


def _result(performed: Sequence[Action], deliveries: Sequence[Delivery]) -> Result:
    if any(one.status is DeliveryStatus.FAILED for one in deliveries):
        return Result.REFUSED_AGAIN
    return Result.ACTED if performed else Result.NOTHING_TO_DO


def _words(delivery: Delivery) -> str:
    label = channel_label(delivery.channel, delivery.event)
    because = f", {delivery.last_error}" if delivery.last_error else ""
    return f"{label}: {_OUTCOMES.get(delivery.status, delivery.status)}{because}"


_OUTCOMES = {DeliveryStatus.FAILED: "rejected again", DeliveryStatus.PENDING: "not sent yet, it is retried"}


async def _redrive_one(actions: Actions, redemption_id: str, operator: Operator) -> Outcome:
    try:
        planned = await actions.plan_redrive(redemption_id)
    except RPCError as error:
        return _failed(redemption_id, f"{error.status.name}: {error.message}")
    return await perform_planned(actions, redemption_id, planned, operator)


def _failed(redemption_id: str, detail: str, performed: Sequence[Action] = ()) -> Outcome:
    actions = [action.as_json() for action in performed]
    return Outcome(redemption_id=redemption_id, result=Result.FAILED, detail=detail, actions=actions)


class _RateLimiter:
    """Spaces calls evenly. Unused time is not made up for."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._next = 0.0

    async def wait(self) -> None:
        now = asyncio.get_running_loop().time()
        due = max(now, self._next)
        self._next = due + self._interval
        await asyncio.sleep(due - now)
