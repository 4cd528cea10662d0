"""Waiting for what happens elsewhere."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import text
from temporalio.client import WorkflowFailureError, WorkflowHandle

from database import Sessions
from workflows.progress import REDEMPTION_STAGE

A_PROGRAM = 2.0
"""Seconds between runs of a program that a condition waits for: each takes a second of a processor."""


async def wait_until(condition: Callable[[], Awaitable[object]], *, seconds: float = 30, every: float = 0.05) -> None:
    """Poll the condition until it is true. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - the condition depends on other processes
            await asyncio.sleep(every)


async def wait_for(value: Callable[[], Awaitable[object]], expected: object) -> None:
    """Poll the value until it is as expected. Raises TimeoutError."""

    async def is_as_expected() -> bool:
        return await value() == expected

    await wait_until(is_as_expected)


async def locks_waited_for(store: Sessions) -> int:
    """Number of locks in the database that a transaction waits for."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with store() as session:
        return (await session.execute(waiting)).scalar_one()


async def stage_of(workflow: "WorkflowHandle[Any, Any]") -> str | None:
    return (await workflow.describe()).typed_search_attributes[REDEMPTION_STAGE]


async def wait_for_stage(workflow: "WorkflowHandle[Any, Any]", stage: str) -> None:
    await wait_for(lambda: stage_of(workflow), stage)


async def wait_for_end(handle: "WorkflowHandle[Any, Any]") -> str:
    """Wait until the workflow is closed; returns its status."""
    with suppress(WorkflowFailureError, TimeoutError):
        async with asyncio.timeout(60):
            await handle.result()
    status = (await handle.describe()).status
    assert status is not None
    return status.name
