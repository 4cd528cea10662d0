"""What an operator can have done about one redemption: deliveries tried again or skipped, an attempt settled.

Every action has a mark that follows from what it answers, such as `retry-klaviyo-3`: the third try was refused. The
mark is the entry's in the activity log and the update's at the engine. So an action that is repeated, because nobody
knows whether it was taken, is neither done nor logged twice.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetActivityRequest
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.deliveries import Deliveries, SkipDelivery
from activities.housekeeping import PATIENCE
from activities.runs import describe, live_run
from db import catalogue
from db.activity import log_request
from db.engine import Sessions
from db.stuck import Case, cases
from db.tables import Delivery
from domain.channels import Channel
from domain.redemptions import settlement_id
from workflows.delivering import DeliversRedemption
from workflows.settle_redemption import Settlement, SettleRedemption
from workflows.stages import Stage, searchable

# An update is answered by a worker; this long is waited for one.
ANSWERED_WITHIN = timedelta(seconds=10)

Verb = Literal["retry", "try_now", "skip", "settle"]


class NothingToDo(Exception):
    """Somebody else is at it already, or it is done."""


class NotDone(Exception):
    """It could not be done; says why."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Who wants something done, and why."""

    by: str
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Action:
    """One thing to do about one attempt.

    `retry` has a refused delivery tried again, `try_now` one that waits for its next try, `skip` leaves it untold.
    `settle` starts a settlement, which tries the channels in `again` although they refused before.
    """

    verb: Verb
    case: Case
    run: str | None = None
    delivery: Delivery | None = None
    again: Sequence[Channel] = ()

    @property
    def channel(self) -> Channel:
        """The channel concerned; a settlement has none."""
        assert self.delivery is not None
        return Channel(self.delivery.channel)

    @property
    def mark(self) -> str:
        """The try that the operator answers."""
        assert self.delivery is not None
        verb = "skip" if self.verb == "skip" else "retry"
        return f"{verb}-{self.delivery.channel}-{self.delivery.attempts}"

    def __str__(self) -> str:
        """What is to be done, for people."""
        match self.verb:
            case "settle":
                again = f", retry {', '.join(self.again)}" if self.again else ""
                return f"settle attempt {self.case.attempt.number}{again}"
            case "try_now":
                return f"try {self.channel} now"
            case verb:
                return f"{verb} {self.channel}"


@dataclass(frozen=True, kw_only=True)
class Reprocessing:
    """Plans actions on redemptions, and performs them in an operator's name."""

    store: Sessions
    temporal: Client
    task_queue: str

    async def plan_retry(self, redemption_id: str, channels: Collection[Channel] = ()) -> list[Action]:
        """Have these channels (or all) tried again. Where no run is left to do it, a settlement is started for it."""
        planned: list[Action] = []
        async for case, run in self._cases(redemption_id):
            undelivered = _of(channels, case.undelivered)
            if run is None and undelivered:
                planned += await self._settle(case, undelivered)
            elif run is not None:
                planned += [
                    Action(verb="retry" if one.status == "failed" else "try_now", case=case, run=run, delivery=one)
                    for one in undelivered
                    if one.attempts > 0
                ]
        return planned

    async def plan_skip(self, redemption_id: str, channels: Collection[Channel]) -> list[Action]:
        """Leave these channels untold."""
        return [
            Action(verb="skip", case=case, run=run, delivery=one)
            async for case, run in self._cases(redemption_id)
            for one in _of(channels, case.undelivered)
        ]

    async def plan_redrive(self, redemption_id: str) -> list[Action]:
        """Whatever brings it to its end: refused deliveries are tried again, what has no run is settled."""
        planned: list[Action] = []
        async for case, run in self._cases(redemption_id):
            if run is None:
                planned += await self._settle(case, case.undelivered)
            else:
                failed = case.in_status("failed")
                planned += [Action(verb="retry", case=case, run=run, delivery=one) for one in failed]
        return planned

    async def perform(self, action: Action, request: Request) -> None:
        """Log the request, then see that it is done.

        Raises:
            NothingToDo: it is being done, or was.
            NotDone: it was not, with the reason. Safe to repeat.
        """
        how = {
            "retry": self._retry,
            "try_now": self._try_now,
            "skip": self._skip,
            "settle": self._start_settlement,
        }
        try:
            await how[action.verb](action, request)
        except WorkflowUpdateFailedError as error:
            # Refused by its validator: between our look and the update, the run went on by itself.
            raise NothingToDo(str(error.cause)) from None
        except RPCError as error:
            raise NotDone(f"{error.status.name}: {error.message}") from None

    async def _cases(self, redemption_id: str) -> AsyncGenerator[tuple[Case, str | None]]:
        """What is unfinished about the redemption, with the run that has it in hand, as of now."""
        async with self.store() as session:
            now = await catalogue.now(session)
        async for page in cases(self.store, before=now, among=[redemption_id]):
            for case in page:
                yield case, await live_run(self.temporal, case.redemption_id, case.attempt.number)

    async def _settle(self, case: Case, undelivered: Sequence[Delivery]) -> list[Action]:
        """A step of the run that is gone may still be under way; after the reconciler's patience it is not."""
        async with self.store() as session:
            is_late = case.since < await catalogue.now(session) - PATIENCE
        again = [Channel(one.channel) for one in undelivered if one.status == "failed"]
        return [Action(verb="settle", case=case, again=again)] if is_late else []

    async def _retry(self, action: Action, request: Request) -> None:
        await self._log(action, request, "delivery_retry_requested")
        await self._update(action, DeliversRedemption.retry_deliveries, [[action.channel]])

    async def _try_now(self, action: Action, request: Request) -> None:
        await self._log(action, request, "delivery_retry_requested")
        await self.temporal.workflow_service.reset_activity(
            ResetActivityRequest(
                namespace=self.temporal.namespace,
                execution=WorkflowExecution(workflow_id=action.run or ""),
                id=action.channel,
                identity=request.by,
            )
        )

    async def _skip(self, action: Action, request: Request) -> None:
        reason = request.reason or ""
        await self._log(action, request, "delivery_skip_requested")
        if action.run is not None:
            await self._update(action, DeliversRedemption.skip_deliveries, [[action.channel], reason])
            return
        # Nobody waits for it: the row alone says so to whatever comes.
        shop_id = action.case.attempt.shop_id
        order = SkipDelivery(
            shop_id=shop_id, redemption_id=action.case.redemption_id, channel=action.channel, reason=reason
        )
        await Deliveries(self.store, {}).skip_delivery(order)

    async def _start_settlement(self, action: Action, request: Request) -> None:
        attempt = Settlement(**asdict(action.case.attempt), again=action.again)
        run = settlement_id(attempt.redemption_id, attempt.number)
        earlier = await describe(self.temporal, run)
        mark = f"settle-{attempt.number}" + (f"-after-{earlier.run_id}" if earlier else "")
        await self._write(
            action, request, "settlement_requested", mark, {"attempt": attempt.number, "channels": attempt.again}
        )
        try:
            await self.temporal.start_workflow(
                SettleRedemption.run,
                attempt,
                id=run,
                task_queue=self.task_queue,
                static_summary=f"settle {attempt.redemption_id}, attempt {attempt.number}",
                search_attributes=searchable(attempt, Stage.COMPENSATING),
            )
        except WorkflowAlreadyStartedError:
            raise NothingToDo("a settlement is under way") from None

    async def _log(self, action: Action, request: Request, kind: str) -> None:
        await self._write(action, request, kind, action.mark, {"channels": [action.channel]})

    async def _write(self, action: Action, request: Request, kind: str, mark: str, facts: dict[str, Any]) -> None:
        async with self.store.begin() as session:
            await log_request(session, action.case.attempt, kind=kind, mark=mark, facts=facts | asdict(request))

    async def _update(self, action: Action, update: Any, arguments: list[Any]) -> None:
        assert action.run is not None
        handle = self.temporal.get_workflow_handle(action.run)
        try:
            async with asyncio.timeout(ANSWERED_WITHIN.total_seconds()):
                await handle.execute_update(update, args=arguments, id=action.mark)  # pyright: ignore[reportUnknownMemberType]
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # The SDK swallows a cancellation.
                raise asyncio.CancelledError from None
            seconds = ANSWERED_WITHIN.total_seconds()
            raise NotDone(f"no worker answered within {seconds:.0f} s; it may yet be taken up") from None


def _of(channels: Collection[Channel], deliveries: Sequence[Delivery]) -> list[Delivery]:
    return [one for one in deliveries if not channels or one.channel in channels]
