"""Run as a process, with the stack's settings: prepares database and Temporal for worker and API.

One process instead of two commands, as loading the program takes longer than its work.
"""

import asyncio

from database import connect, migrate
from services.schedules import apply_schedules
from settings import connect_temporal, read_settings
from telemetry import exit_process


async def prepare() -> None:
    """Migrate the database and apply the schedules. Safe to repeat."""
    settings = read_settings()
    engine = connect(settings.database_url, statement_timeout=None)
    await migrate(engine)
    await engine.dispose()
    await apply_schedules(await connect_temporal(settings), task_queue=settings.temporal_task_queue)


if __name__ == "__main__":
    asyncio.run(prepare())
    exit_process(0)
