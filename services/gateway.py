"""Asking a run for its answer, from outside: starts it, or joins it, or hears what it said."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

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
from temporalio.workflow import UpdateMethodMultiParam

from activities.attempt import Attempt
from workflows.outcomes import VENDORS_DOING
from workflows.progress import Stage, searchable

Answer = TypeVar("Answer")

PAUSE_SECONDS = 0.5

# One id for every request that waits for one run: all of them hear the same answer, even after the run is over.
UPDATE_ID = "answer"

# The engine has read the request and will not act on it, whoever asks.
_HOPELESS = (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED)

log = structlog.stdlib.get_logger("asking")


@dataclass(frozen=True, kw_only=True)
class Run(Generic[Answer]):
    """The run of an attempt, or of its refund, and how it is found and read in the Temporal UI.

    Attributes:
        story: the workflow's `run`.
        answer: the workflow's update that waits for the answer.
        reuse: whether a run that has ended can be followed by another one.
        patience: how long an answer is worth waiting for.
    """

    id: str
    story: Callable[[Any, Attempt], Awaitable[Answer]]
    answer: UpdateMethodMultiParam[[Any], Answer]
    attempt: Attempt
    stage: Stage
    reuse: WorkflowIDReusePolicy
    patience: timedelta
    summary: str
    details: str


class Engine:
    """The workflow engine, as far as questions go."""

    def __init__(self, temporal: Client, *, task_queue: str) -> None:
        self._temporal = temporal
        self._task_queue = task_queue

    async def answer(self, run: Run[Answer]) -> Answer | None:
        """The run's answer. None when nobody can tell: the run may have ended without one, or may yet go on.

        An engine that cannot be reached may have started the run all the same. So it is asked again for as long as
        the answer is worth waiting for.
        """
        try:
            async with asyncio.timeout(run.patience.total_seconds()) as limit:
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
        except (RPCError, RuntimeError) as error:
            # RuntimeError is what a lazy client raises that has never been connected.
            reason = f"the engine starts no runs: {error}"
        log.error("the engine gave no answer", redemption_id=run.attempt.redemption_id, reason=reason)
        return None

    async def waits_for_a_vendor(self, run_id: str) -> bool:
        """Whether the run is held up by a step that its vendor failed."""
        try:
            described = await self._temporal.get_workflow_handle(run_id).describe()
        except (RPCError, RuntimeError):
            return False
        steps = described.raw_description.pending_activities
        return any(step.last_failure.application_failure_info.type in VENDORS_DOING for step in steps)

    async def _ask(self, run: Run[Answer]) -> Answer | None:
        """The answer; None when it is worth asking again."""
        operation = self._operation(run)
        try:
            return await self._temporal.execute_update_with_start_workflow(  # pyright: ignore[reportUnknownMemberType]
                run.answer, id=UPDATE_ID, start_workflow_operation=operation
            )
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            if isinstance(cause, ApplicationError) and cause.type == "AcceptedUpdateCompletedWorkflow":
                # The run was closed, or reset, under the waiting request: asked again it is known what came of it.
                return None
            raise
        except RPCError as error:
            if error.status in _HOPELESS:
                raise
            return None
        finally:
            _consume(operation)

    def _operation(self, run: Run[Any]) -> WithStartWorkflowOperation[Any, Any]:
        return WithStartWorkflowOperation(
            run.story,
            run.attempt,
            id=run.id,
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=run.reuse,
            static_summary=run.summary,
            static_details=run.details,
            search_attributes=searchable(run.attempt, run.stage),
        )


def _follow_cancellation() -> None:
    # The SDK reports a cancelled call as its own error and swallows the cancellation.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _consume(operation: WithStartWorkflowOperation[Any, Any]) -> None:
    # A failed call leaves a future with the same error; unread, asyncio logs it with a traceback.
    future = asyncio.ensure_future(operation.workflow_handle())
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
