"""Asking the workflow for its answer: starts the run, or joins it, or hears what it said."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.attempt import Attempt
from domain.redemptions import workflow_id
from workflows.answers import Answer, Outcome
from workflows.redeem_reward import RedeemReward
from workflows.stages import Stage, searchable
from workflows.telling import static_details

# At the deadline the workflow still gives the points back before it answers.
GRACE = timedelta(seconds=5)

PAUSE_SECONDS = 0.5

# One id for every request that waits for one attempt: all of them hear the same answer, even after the run is over.
UPDATE_ID = "answer"

# The engine has read the request and will not act on it, whoever asks.
_HOPELESS = (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED)

log = structlog.stdlib.get_logger("api")


@dataclass(frozen=True, kw_only=True)
class Run:
    """The run of an attempt, and how it is found and read in the Temporal UI. `patience` is the attempt's time."""

    attempt: Attempt
    patience: timedelta
    summary: str


class Engine:
    """The workflow engine, as far as purchases go."""

    def __init__(self, temporal: Client, *, task_queue: str) -> None:
        self._temporal = temporal
        self._task_queue = task_queue

    async def answer(self, run: Run) -> Answer | None:
        """The run's answer. None when nobody can tell: the run may have ended without one, or may yet go on.

        An engine that cannot be reached may have started the run all the same. So it is asked again until the
        attempt's deadline.
        """
        try:
            async with asyncio.timeout((run.patience + GRACE).total_seconds()) as limit:
                while not limit.expired():
                    answer = await self._ask(run)
                    if answer is not None:
                        return answer
                    await asyncio.sleep(PAUSE_SECONDS)
            reason = "no answer in time"
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            _follow_cancellation()
            reason = "no answer in time"
        except (WorkflowAlreadyStartedError, WorkflowUpdateFailedError):
            reason = "the run was closed without an answer"
        log.error("the engine gave no answer", redemption_id=run.attempt.redemption_id, reason=reason)
        return None

    async def _ask(self, run: Run) -> Answer | None:
        """The answer; None when it is worth asking again."""
        operation = self._operation(run)
        try:
            return await self._temporal.execute_update_with_start_workflow(  # pyright: ignore[reportUnknownMemberType]
                RedeemReward.answer, id=UPDATE_ID, start_workflow_operation=operation
            )
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            if isinstance(cause, ApplicationError) and cause.type == "AcceptedUpdateCompletedWorkflow":
                # The run was closed, or reset, under the waiting request: asked again it is known what came of it.
                return None
            raise
        except RPCError as error:
            return _not_started(error) if error.status in _HOPELESS else None
        except RuntimeError as error:
            # What a lazy client raises that has never been connected.
            return _not_started(error)
        finally:
            _consume(operation)

    def _operation(self, run: Run) -> WithStartWorkflowOperation[RedeemReward, Answer]:
        attempt = run.attempt
        return WithStartWorkflowOperation(
            RedeemReward.run,
            attempt,
            id=workflow_id(attempt.redemption_id, attempt.number),
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            # The default would start a second redemption once the first run is closed.
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            static_summary=run.summary,
            static_details=static_details(attempt),
            search_attributes=searchable(attempt, Stage.REDEEMING),
        )


def _not_started(error: Exception) -> Answer:
    log.error("the engine starts no runs", reason=str(error))
    return Answer(outcome=Outcome.ENGINE_UNAVAILABLE)


def _follow_cancellation() -> None:
    # The SDK reports a cancelled call as its own error and swallows the cancellation.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _consume(operation: WithStartWorkflowOperation[RedeemReward, Answer]) -> None:
    # A failed call leaves a future with the same error; unread, asyncio logs it with a traceback.
    future = asyncio.ensure_future(operation.workflow_handle())
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
