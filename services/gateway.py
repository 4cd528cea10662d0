"""The one place that starts workflows and waits for their answers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

import structlog
from structlog.contextvars import bind_contextvars
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import UpdateMethodMultiParam

from activities.attempt import Attempt
from workflows.outcomes import VENDOR_FAILURES
from workflows.progress import Stage, attempt_attributes, priority_of

Answer = TypeVar("Answer")
Message = TypeVar("Message")

PAUSE_SECONDS = 0.5

UPDATE_ID = "answer"

_PERMANENT = (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED)

log = structlog.stdlib.get_logger("gateway")


@dataclass(frozen=True, kw_only=True)
class WorkflowRequest(Generic[Answer]):
    """A workflow of an attempt or its refund, to start or to attach to.

    Attributes:
        answer: the workflow's update that waits for the answer.
        update_id: the same for every request, so that all get the same answer, even after the workflow is closed.
        reuse_policy: whether a closed workflow can be followed by another with its id.
        timeout: how long to wait for the answer.
    """

    id: str
    run: Callable[[Any, Attempt], Awaitable[Answer]]
    answer: UpdateMethodMultiParam[[Any], Answer]
    attempt: Attempt
    stage: Stage
    reuse_policy: WorkflowIDReusePolicy
    timeout: timedelta
    summary: str
    details: str
    update_id: str = UPDATE_ID


class Gateway:
    """Client of the workflow service."""

    def __init__(self, temporal: Client, *, task_queue: str) -> None:
        self._temporal = temporal
        self._task_queue = task_queue

    async def start(
        self,
        run: Callable[[Any, Message], Awaitable[object]],
        message: Message,
        *,
        workflow_id: str,
        shop_id: int,
        search_attributes: TypedSearchAttributes,
        summary: str,
        details: str | None = None,
        conflict_policy: WorkflowIDConflictPolicy = WorkflowIDConflictPolicy.FAIL,
    ) -> None:
        """Start a workflow. Raises `RPCError`, or `RuntimeError` if a lazy client cannot connect.

        Raises `WorkflowAlreadyStartedError` if one with this id is open and the conflict policy is `FAIL`.
        """
        await self._temporal.start_workflow(
            run,
            message,
            id=workflow_id,
            task_queue=self._task_queue,
            id_conflict_policy=conflict_policy,
            static_summary=summary,
            static_details=details,
            search_attributes=search_attributes,
            priority=priority_of(shop_id, is_awaited=False),
        )

    async def answer(self, request: WorkflowRequest[Answer]) -> Answer | None:
        """Start the workflow or attach to it, and wait for its answer.

        Returns None if the outcome is unknown: the workflow was closed without an answer, or may still be running.
        While Temporal cannot be reached, the request is repeated until the timeout, as the workflow may have started.
        """
        bind_contextvars(workflow_id=request.id)
        try:
            async with asyncio.timeout(request.timeout.total_seconds()) as limit:
                while not limit.expired():
                    answer = await self._execute_update(request)
                    if answer is not None:
                        return answer
                    await asyncio.sleep(PAUSE_SECONDS)
            reason = "timed out"
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            _raise_if_cancelled()
            reason = "timed out"
        except (WorkflowAlreadyStartedError, WorkflowUpdateFailedError):
            reason = "the workflow was closed without an answer"
        except (RPCError, RuntimeError) as error:
            # RuntimeError: a lazy client cannot connect.
            reason = f"Temporal refused the request: {error}"
        log.error("no answer from the workflow", redemption_id=request.attempt.redemption_id, reason=reason)
        return None

    async def update(
        self, workflow_id: str, update: Any, arguments: Sequence[Any], *, update_id: str, within: timedelta
    ) -> None:
        """Update an open workflow. Raises `TimeoutError` if no worker responds: the update may still be performed.

        Raises `WorkflowUpdateFailedError` if the workflow rejects the update, and `RPCError`.
        """
        handle = self._temporal.get_workflow_handle(workflow_id)
        try:
            async with asyncio.timeout(within.total_seconds()):
                await handle.execute_update(update, args=arguments, id=update_id)  # pyright: ignore[reportUnknownMemberType]
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            _raise_if_cancelled()
            raise TimeoutError from None

    async def waits_for_vendor(self, workflow_id: str) -> bool:
        """Whether a vendor has failed the last attempt of one of the workflow's pending activities."""
        try:
            described = await self._temporal.get_workflow_handle(workflow_id).describe()
        except (RPCError, RuntimeError):
            return False
        pending = described.raw_description.pending_activities
        return any(one.last_failure.application_failure_info.type in VENDOR_FAILURES for one in pending)

    async def _execute_update(self, request: WorkflowRequest[Answer]) -> Answer | None:
        """The answer. None: retry."""
        operation = WithStartWorkflowOperation(
            request.run,
            request.attempt,
            id=request.id,
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=request.reuse_policy,
            static_summary=request.summary,
            static_details=request.details,
            search_attributes=attempt_attributes(request.attempt, request.stage),
            priority=priority_of(request.attempt.shop_id, is_awaited=not request.attempt.is_queued),
        )
        try:
            return await self._temporal.execute_update_with_start_workflow(  # pyright: ignore[reportUnknownMemberType]
                request.answer, id=request.update_id, start_workflow_operation=operation
            )
        except WorkflowUpdateFailedError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.type == "AcceptedUpdateCompletedWorkflow":
                # The workflow was closed or reset during the update. A retry gets the outcome.
                return None
            raise
        except RPCError as error:
            if error.status in _PERMANENT:
                raise
            return None
        finally:
            _consume(operation)


def _raise_if_cancelled() -> None:
    # The SDK reports a cancelled call as its own error and swallows the cancellation.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _consume(operation: WithStartWorkflowOperation[Any, Any]) -> None:
    # A failed call leaves a future with the same error, which asyncio logs with a traceback if it is not read.
    future = asyncio.ensure_future(operation.workflow_handle())
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
