"""`python -m benchmarks.floor_worker READY_FILE`: the floor's worker, with the product's worker settings."""

import asyncio
import sys
from pathlib import Path
from typing import Any, cast

import uvloop
from temporalio.worker import Worker

from benchmarks.floor import TASK_QUEUE, FloorWorkflow, sleep
from settings import connect_temporal, read_settings
from worker import build_workers, open_pools
from workflows.saga import background_queue


async def work(ready: Path) -> None:
    """Run workers with the product's settings, for the floor's workflow and step only."""
    settings = read_settings()
    client = await connect_temporal(settings)
    async with open_pools(settings, name="floor", connections=1) as pools:
        # Never run. One client cannot have two workers on one task queue, so the settings name an unused one.
        models = build_workers(client, settings, pools, pools)
    purchases, background = (cast("dict[str, Any]", model.config()) for model in models)
    purchases |= {"task_queue": TASK_QUEUE, "activities": [sleep], "workflows": [FloorWorkflow]}
    background |= {"task_queue": background_queue(TASK_QUEUE), "activities": [sleep]}
    async with Worker(**purchases), Worker(**background):
        ready.touch()  # noqa: ASYNC240
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(work(Path(sys.argv[1])))
