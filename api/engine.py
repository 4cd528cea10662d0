"""Asking the workflow for its answer: starts the run, or joins it, or hears what it said."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.attempt import Attempt
from domain.redemptions import workflow_id
from workflows.answers import Answer
from workflows.redeem_reward import RedeemReward
from workflows.stages import CUSTOMER_ID, REDEMPTION_STAGE, REWARD_ID, SHOP_DOMAIN, Stage

# At the deadline the workflow still gives the points back before it answers.
GRACE = timedelta(seconds=5)

# One id for every request that waits for one attempt: all of them hear the same answer, even after the run is over.
UPDATE_ID = "answer"

log = structlog.stdlib.get_logger("api")


@dataclass(frozen=True, kw_only=True)
class Order:
    """An attempt, and how its run is found and read in the Temporal UI."""

    attempt: Attempt
    shop_domain: str
    summary: str


class Engine:
    """The workflow engine, as far as purchases go."""

    def __init__(self, temporal: Client, *, task_queue: str) -> None:
        self._temporal = temporal
        self._task_queue = task_queue

    async def answer(self, order: Order) -> Answer | None:
        """The run's answer; None when the engine gave none in time, so that nobody can tell whether there is a run."""
        try:
            async with asyncio.timeout((order.attempt.deadline + GRACE - datetime.now(UTC)).total_seconds()):
                return await self._ask(order) or await self._ask(order)
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            _follow_cancellation()
            reason = "no answer in time"
        except WorkflowAlreadyStartedError:
            reason = "the run was closed without an answer"
        except (RPCError, RuntimeError) as error:
            # RuntimeError is what a lazy client raises that could not connect yet.
            reason = str(error)
        log.error("the engine gave no answer", redemption_id=order.attempt.redemption_id, reason=reason)
        return None

    async def _ask(self, order: Order) -> Answer | None:
        operation = self._operation(order)
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
        finally:
            _consume(operation)

    def _operation(self, order: Order) -> WithStartWorkflowOperation[RedeemReward, Answer]:
        attempt = order.attempt
        return WithStartWorkflowOperation(
            RedeemReward.run,
            attempt,
            id=workflow_id(attempt.redemption_id, attempt.number),
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            # The default would start a second redemption once the first run is closed.
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            static_summary=order.summary,
            search_attributes=TypedSearchAttributes(
                [
                    SearchAttributePair(SHOP_DOMAIN, order.shop_domain),
                    SearchAttributePair(CUSTOMER_ID, attempt.customer_id),
                    SearchAttributePair(REWARD_ID, attempt.reward_id),
                    SearchAttributePair(REDEMPTION_STAGE, Stage.REDEEMING),
                ]
            ),
        )


def _follow_cancellation() -> None:
    # The SDK reports a cancelled call as its own error and swallows the cancellation.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _consume(operation: WithStartWorkflowOperation[RedeemReward, Answer]) -> None:
    # A failed call leaves a future with the same error; unread, asyncio logs it with a traceback.
    future = asyncio.ensure_future(operation.workflow_handle())
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
