"""The floor: a workflow with the shape of a purchase, with steps that do nothing.

It runs on the product's Temporal server, in a worker process with the product's worker settings, and has no API,
database or vendor. Shopify's time is slept.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client, WithStartWorkflowOperation, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from benchmarks.product import Product, beside
from workflows.saga import ATTEMPT_TIMEOUT, LOCAL_TIMEOUT, background_queue

TASK_QUEUE = "floor"


@activity.defn
async def sleep(seconds: float) -> None:
    """Take as long as a vendor, which may be no time."""
    await asyncio.sleep(seconds)


@workflow.defn
class FloorWorkflow:
    """A purchase without its work: a local step, a step, the answer, a step in the background."""

    def __init__(self) -> None:
        self._is_answered = False

    @workflow.run
    async def run(self, delay: float) -> None:
        """`delay`: seconds that Shopify takes."""
        await workflow.execute_local_activity(sleep, 0.0, schedule_to_close_timeout=LOCAL_TIMEOUT)
        await workflow.execute_activity(sleep, delay, start_to_close_timeout=ATTEMPT_TIMEOUT)
        self._is_answered = True
        background = background_queue(TASK_QUEUE)
        await workflow.execute_activity(sleep, 0.0, task_queue=background, start_to_close_timeout=ATTEMPT_TIMEOUT)
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.update
    async def answer(self) -> None:
        """Wait for what would be the discount code."""
        await workflow.wait_condition(lambda: self._is_answered)


class Floor:
    """Purchases of the floor. `delay`: seconds that Shopify takes."""

    def __init__(self, temporal: Client) -> None:
        self.delay = 0.0
        self._temporal = temporal
        self._open: list[str] = []

    @classmethod
    @asynccontextmanager
    async def running(cls, product: Product) -> AsyncGenerator["Floor"]:
        """Run the floor's worker beside the product until the block ends."""
        ready = product.stack.home / "floor.ready"

        async def polls() -> bool:
            return ready.exists()

        env = {"TEMPORAL_TASK_QUEUE": "unused"}
        async with beside(product.stack, "floor_worker", str(ready), ready=polls, env=env):
            yield cls(product.temporal)

    async def purchase(self) -> None:
        """Start the workflow as the API does, and wait for its answer."""
        workflow_id = f"floor-{uuid4().hex}"
        start = WithStartWorkflowOperation(
            FloorWorkflow.run,
            self.delay,
            id=workflow_id,
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )
        try:
            await self._temporal.execute_update_with_start_workflow(  # pyright: ignore[reportUnknownMemberType]
                FloorWorkflow.answer, id="answer", start_workflow_operation=start
            )
        except WorkflowUpdateRPCTimeoutOrCancelledError:
            # The SDK reports a cancellation as this, and once more in a future that must be read.
            await asyncio.gather(start.workflow_handle(), return_exceptions=True)
            raise asyncio.CancelledError from None
        self._open.append(workflow_id)

    async def drain(self) -> None:
        """Wait until every workflow is closed."""
        handles = [self._temporal.get_workflow_handle(one) for one in self._open]
        await asyncio.gather(*(handle.result() for handle in handles))
        self._open.clear()
