"""Whether database and Temporal can be reached, and how the task queues are."""

import asyncio
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError

from database import Sessions
from services.workers import Dispatch, QueueState, queue_state
from workflows.saga import background_queue

_TIMEOUT_SECONDS = 2


async def reaches_database(store: Sessions) -> bool:
    """Whether the database answers within 2 s."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS), store() as session:
            await session.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError, TimeoutError):
        return False
    return True


async def reaches_temporal(temporal: Client) -> bool:
    """Whether Temporal answers within 2 s."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await temporal.service_client.check_health()
    except (RPCError, RuntimeError, TimeoutError):
        return False


async def queue_states(temporal: Client, task_queue: str) -> Sequence[QueueState]:
    """The queue of workflows and purchases, then the one of what can wait. Unknown if Temporal does not answer."""
    return await asyncio.gather(
        _queue_state(temporal, task_queue, workflows=True),
        _queue_state(temporal, background_queue(task_queue), workflows=False),
    )


async def _queue_state(temporal: Client, name: str, *, workflows: bool) -> QueueState:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await queue_state(temporal, name, workflows=workflows)
    except (RPCError, RuntimeError, TimeoutError):
        return QueueState(name=name, dispatch=Dispatch.UNKNOWN, workers=())
