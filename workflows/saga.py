"""The mechanism of a saga: steps with undos, and retry policies.

Before the pivot a step is retried until the deadline and can be undone. After the pivot, and while compensating, a step
is retried until it succeeds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

from activities.attempt import Attempt, Failure
from workflows.failures import failure_of
from workflows.progress import Progress, StepState

Request = TypeVar("Request")
Result = TypeVar("Result")
Step = Callable[[Any, Request], Awaitable[Result]]

# Failures that start compensation. Any other exception is a bug in workflow code: it fails the workflow task, is
# visible, and the workflow continues once fixed code is deployed. It must not release points.
UNWIND = (asyncio.CancelledError, FailureError, asyncio.TimeoutError)

# Start-to-close time-outs. Before the pivot it must leave time for a retry within the purchase's deadline, as a worker
# that dies inside a step is noticed by this time-out only.
ATTEMPT_TIMEOUT = timedelta(seconds=15)
INSIST_TIMEOUT = timedelta(seconds=30)
# Well below the time-out of a workflow task (10 s), which is open during a local activity.
LOCAL_TIMEOUT = timedelta(seconds=3)

# Before the pivot: bounded by the purchase's deadline, not by a number of attempts. A rejection is final.
ATTEMPT = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(seconds=5),
    non_retryable_error_types=["Refused", "RedemptionClosed"],
)

# A local activity: an ordinary activity follows it.
ONCE = RetryPolicy(maximum_attempts=1)

# The undo must not overtake its step.
_UNDO_WAITS = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED

# After the pivot and while compensating: without limit. Rejections are retried too, as an operator can replace a token.
INSIST = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))


class Saga:
    """A block of steps that are compensated together.

    Leaving the block with one of `UNWIND` runs the undos of the armed steps, oldest first: the first undo releases the
    points, or finds the redemption captured. An undo returns False if the pivot was passed after all. Then no further
    undo runs, the exception is dropped, and the workflow continues below the block.
    """

    def __init__(self, progress: Progress, *, deadline: datetime) -> None:
        self.is_released = False
        """The first undo has succeeded: this attempt will not be captured. Later undos may take long."""
        self.failure: BaseException | None = None
        """The exception that started the compensation."""
        self._progress = progress
        self._deadline = deadline
        self._undos: list[Callable[[], Coroutine[Any, Any, bool]]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, UNWIND):
            return False
        self.failure = error
        return await shielded(self._unwind(failure_of(error)))

    async def step(
        self,
        step: Step[Attempt, Result],
        request: Attempt,
        *,
        undo: Step[Attempt, bool],
        local: bool = False,
        at: datetime | None = None,
    ) -> Result:
        """Run one step, retried until the deadline.

        `local`: the first execution is a local activity, which saves a round trip and six history events. Only that
        one, as the SDK ignores time-outs between the retries of local activities. The step must be short.
        `at`: when to run it. None: now.

        Raises:
            FailureError: it did not succeed before the deadline, or was rejected.
            asyncio.CancelledError: the workflow was cancelled. The step has ended.
        """
        # Armed before the step: an activity can take effect and still be reported as failed.
        self._undos.append(lambda: compensate(step, request, undo=undo, progress=self._progress))
        if at is not None and at > workflow.now():
            await workflow.sleep(at - workflow.now(), summary=step.__name__)
        self._progress.set_step(step.__name__, StepState.IN_PROGRESS)
        try:
            result = await self._execute(step, request, local=local)
        except FailureError:
            _raise_if_cancelled()
            raise
        self._progress.set_step(step.__name__, StepState.DONE)
        _raise_if_cancelled()
        return result

    async def _execute(self, step: Step[Attempt, Result], request: Attempt, *, local: bool) -> Result:
        if local:
            try:
                return await workflow.execute_local_activity_method(
                    step,
                    request,
                    activity_id=f"{step.__name__}-local",
                    schedule_to_close_timeout=min(LOCAL_TIMEOUT, self._time_left()),
                    retry_policy=ONCE,
                    cancellation_type=_UNDO_WAITS,
                )
            except FailureError as error:
                if _is_final(error):
                    raise
        return await workflow.execute_activity_method(
            step,
            request,
            activity_id=step.__name__,
            summary=self._progress.attempt.redemption_id,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            schedule_to_close_timeout=self._time_left(),
            retry_policy=ATTEMPT,
            cancellation_type=_UNDO_WAITS,
        )

    def _time_left(self) -> timedelta:
        time_left = self._deadline - workflow.now()
        if time_left <= timedelta():
            raise ApplicationError("the purchase's deadline has passed", type="DeadlinePassed")
        return time_left

    async def _unwind(self, failure: Failure) -> bool:
        self._progress.compensate(failure)
        for undo in self._undos:
            if not await undo():
                return True
            self.is_released = True
        self.is_released = True
        self._progress.finish()
        # Callers that wait for the outcome get it before the workflow ends.
        await workflow.wait_condition(workflow.all_handlers_finished)
        return False


async def compensate(
    step: Step[Attempt, Any], request: Attempt, *, undo: Step[Attempt, bool], progress: Progress
) -> bool:
    """Undo one step, retried until it succeeds. False: the pivot was passed and the step stands.

    The undo gets the reason, which the ledger keeps.
    """
    progress.set_step(step.__name__, StepState.COMPENSATING)
    failed = request.model_copy(update={"failure": progress.failure})
    undone = await insist(undo, failed, summary=progress.attempt.redemption_id)
    progress.set_step(step.__name__, StepState.COMPENSATED if undone else StepState.DONE)
    return undone


def background_queue(task_queue: str) -> str:
    """The task queue of activities that can wait, beside the one of purchases and workflows."""
    return f"{task_queue}-background"


async def insist(
    step: Step[Request, Result],
    request: Request,
    *,
    summary: str,
    activity_id: str | None = None,
    background: bool = False,
    attempt_timeout: timedelta = INSIST_TIMEOUT,
) -> Result:
    """Run one step, retried until it succeeds.

    `activity_id` distinguishes steps of one type that run in parallel. Runbooks and the command line refer to it.
    `background`: the step can wait, and runs on the other task queue.
    """
    queue = workflow.info().task_queue
    return await workflow.execute_activity_method(
        step,
        request,
        task_queue=background_queue(queue) if background else queue,
        activity_id=activity_id or step.__name__,
        summary=summary,
        start_to_close_timeout=attempt_timeout,
        retry_policy=INSIST,
    )


async def shielded(work: Coroutine[Any, Any, Result]) -> Result:
    """Await work that a cancellation must not stop: compensation, and everything after the pivot."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
    return task.result()


def _raise_if_cancelled() -> None:
    """The SDK drops a cancellation that arrives while a step with `_UNDO_WAITS` completes."""
    if workflow.cancellation_reason() is not None:
        raise asyncio.CancelledError


def _is_final(error: FailureError) -> bool:
    """Whether a retry would fail again, or the workflow was cancelled."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, ApplicationError):
        return cause.type in (ATTEMPT.non_retryable_error_types or ())
    return workflow.cancellation_reason() is not None
