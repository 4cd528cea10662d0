"""What an operator has done about one redemption: deliveries tried again or skipped, a run that is gone followed up.

Every action has a mark that follows from what it answers, such as `retry-reward_redeemed-klaviyo-3`: the third try was
refused. The mark is the entry's in the activity log and the update's at the engine. So an action that is repeated,
because nobody knows whether it was taken, is neither done nor logged twice.
"""

import asyncio
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetActivityRequest
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.attempt import Attempt
from activities.deliveries import Deliveries, SkipDelivery
from clients.temporal import describe
from database import Sessions
from db.activity_log import log_request
from services.actions import Action, Plans
from workflows.deliveries import DeliversRedemption
from workflows.progress import Stage, searchable
from workflows.recovery import successor

# An update is answered by a worker; this long is waited for one.
ANSWERED_WITHIN = timedelta(seconds=10)


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
class Reprocessing:
    """Performs actions on redemptions, in an operator's name."""

    store: Sessions
    temporal: Client
    task_queue: str

    @property
    def plans(self) -> Plans:
        """What can be done."""
        return Plans(store=self.store, temporal=self.temporal)

    async def perform(self, action: Action, request: Request) -> None:
        """Log the request, then see that it is done.

        Raises:
            NothingToDo: it is being done, or was.
            NotDone: it was not, with the reason. Safe to repeat.
        """
        how = {"retry": self._retry, "try_now": self._try_now, "skip": self._skip, "restart": self._restart}
        try:
            await how[action.verb](action, request)
        except WorkflowUpdateFailedError as error:
            # Refused by its validator: between our look and the update, the run went on by itself.
            raise NothingToDo(str(error.cause)) from None
        except RPCError as error:
            raise NotDone(f"{error.status.name}: {error.message}") from None

    async def _retry(self, action: Action, request: Request) -> None:
        await self._log_delivery(action, request, "delivery_retry_requested")
        await self._update(action, DeliversRedemption.retry_deliveries, [[action.channel]])

    async def _try_now(self, action: Action, request: Request) -> None:
        await self._log_delivery(action, request, "delivery_retry_requested")
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
        await self._log_delivery(action, request, "delivery_skip_requested")
        if action.run is not None:
            await self._update(action, DeliversRedemption.skip_deliveries, [[action.channel], reason])
            return
        # Nobody waits for it: the row alone says so to whatever comes.
        attempt = action.case.attempt
        order = SkipDelivery(
            shop_id=attempt.shop_id,
            redemption_id=attempt.redemption_id,
            event=attempt.event,
            channel=action.channel,
            reason=reason,
        )
        await Deliveries(self.store, {}).skip_delivery(order)

    async def _restart(self, action: Action, request: Request) -> None:
        attempt = Attempt.model_validate({**asdict(action.case.attempt), "again": action.again})
        run = successor(attempt, action.case.event)
        earlier = await describe(self.temporal, run.id)
        mark = f"start-{run.id}" + (f"-after-{earlier.run_id}" if earlier else "")
        facts = {"attempt": attempt.number, "channels": action.again}
        await self._log(action, request, "restart_requested", mark, facts)
        try:
            await self.temporal.start_workflow(
                run.story,
                attempt,
                id=run.id,
                task_queue=self.task_queue,
                static_summary=run.summary,
                static_details=run.details,
                search_attributes=searchable(attempt, Stage.COMPENSATING),
            )
        except WorkflowAlreadyStartedError:
            raise NothingToDo("another run is at it") from None

    async def _log_delivery(self, action: Action, request: Request, kind: str) -> None:
        await self._log(action, request, kind, action.mark, {"channels": [action.channel]})

    async def _log(self, action: Action, request: Request, kind: str, mark: str, facts: dict[str, Any]) -> None:
        every = {"event": action.case.event, **facts, **asdict(request)}
        async with self.store.begin() as session:
            await log_request(session, action.case.attempt, kind=kind, mark=mark, facts=every)

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
