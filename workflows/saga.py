"""The mechanism of a saga: steps with their undos, the pivot, and how stubbornly each side is tried.

Before the pivot a step is tried until the deadline, and everything can be undone. After it, and while undoing,
a step is tried until it is done.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError

from workflows.journal import Journal
from workflows.stages import Stage
from workflows.telling import State, reason_of

Request = TypeVar("Request")
Result = TypeVar("Result")
Step = Callable[[Any, Request], Awaitable[Result]]

# What can end a run on purpose. Any other exception is a bug in workflow code: it fails the workflow task, stays
# visible, and goes on once fixed code is deployed; it must not give points back.
UNWIND = (asyncio.CancelledError, FailureError, asyncio.TimeoutError)

# A try that is cut off looks, the next time, before it asks again. Before the pivot that must come soon enough for
# another try within the purchase's deadline: a worker that died in the middle of a step tells nobody.
ATTEMPT_TIMEOUT = timedelta(seconds=15)
INSIST_TIMEOUT = timedelta(seconds=30)

# Bounded by the purchase's deadline, not by a number of tries. A refusal will not change by asking again.
ATTEMPT = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(seconds=5),
    non_retryable_error_types=["Refused", "RedemptionClosed"],
)

# Until it is done: a token can be mended and a vendor comes back, but points and codes must not be left behind.
INSIST = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))


class Saga:
    """Steps that are undone together, or not at all.

    Leaving the block by one of `UNWIND` runs the undos of the armed steps, oldest first: the first undo is the one
    that asks the arbiter. An undo that answers False found that the pivot has been passed after all; then nothing
    more is undone, the exception is dropped, and the workflow goes on forward, below the block.
    """

    def __init__(self, journal: Journal, *, deadline: datetime) -> None:
        self.given_up = False
        """The arbiter has said that this will not happen. Later undos may take long; nobody needs to wait for them."""
        self.failure: BaseException | None = None
        """What the saga is unwound for."""
        self._journal = journal
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
        return await to_the_end(self._unwind(reason_of(error)))

    async def step(self, step: Step[Request, Result], request: Request, *, undo: Step[Request, bool]) -> Result:
        """Try one step until the deadline.

        Raises:
            FailureError: it did not succeed in time, or was refused.
            asyncio.CancelledError: the run was cancelled; the step has come to its end.
        """
        # Armed first: a step can take effect and still be seen to fail.
        self._undos.append(lambda: take_back(step, request, undo=undo, journal=self._journal))
        left = self._deadline - workflow.now()
        if left <= timedelta():
            raise ApplicationError("the purchase's deadline has passed", type="DeadlinePassed")
        self._journal.note(step.__name__, State.UNDER_WAY)
        try:
            result = await workflow.execute_activity_method(
                step,
                request,
                activity_id=step.__name__,
                summary=self._journal.about,
                start_to_close_timeout=ATTEMPT_TIMEOUT,
                schedule_to_close_timeout=left,
                retry_policy=ATTEMPT,
                # The undo must not overtake its step.
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
            self._journal.note(step.__name__, State.DONE)
            return result
        finally:
            # A step that comes to its end, good or bad, swallows the cancellation that it was waited out for.
            if workflow.cancellation_reason() is not None:
                raise asyncio.CancelledError

    async def _unwind(self, why: str) -> bool:
        self._journal.enter(Stage.COMPENSATING, why=why)
        for undo in self._undos:
            if not await undo():
                return True
            self.given_up = True
        self.given_up = True
        self._journal.close()
        # Callers who wait for the outcome get it before the run ends.
        await workflow.wait_condition(workflow.all_handlers_finished)
        return False


async def take_back(step: Step[Request, Any], request: Request, *, undo: Step[Request, bool], journal: Journal) -> bool:
    """Undo one step, however long that takes; False when the pivot has been passed and it stands."""
    journal.note(step.__name__, State.UNDOING)
    undone = await insist(undo, request, about=journal.about)
    journal.note(step.__name__, State.UNDONE if undone else State.DONE)
    return undone


async def insist(
    step: Step[Request, Result], request: Request, *, about: str, activity_id: str | None = None
) -> Result:
    """Try one step until it is done, however long that takes.

    `activity_id` tells apart steps of one kind that run side by side; runbooks and the command line name them by it.
    """
    return await workflow.execute_activity_method(
        step,
        request,
        activity_id=activity_id or step.__name__,
        summary=about,
        start_to_close_timeout=INSIST_TIMEOUT,
        retry_policy=INSIST,
    )


async def to_the_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Await work that a cancellation must not stop: undoing, and all that comes after the pivot."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
    return task.result()
