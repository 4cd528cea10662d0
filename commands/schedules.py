"""What runs by the clock."""

import asyncio

import typer
from temporalio.service import RPCError

from commands.shared import AsJson, no_engine, print_json
from services.schedules import apply_schedules
from settings import connect_temporal, read_settings

schedules = typer.Typer(help="What runs by the clock.", no_args_is_help=True)


@schedules.command("apply")
def apply(*, as_json: AsJson = False) -> None:
    """Create the schedules in Temporal, or bring them up to date. Safe to repeat."""
    settings = read_settings()

    async def run() -> list[str]:
        client = await connect_temporal(settings)
        return await apply_schedules(client, task_queue=settings.temporal_task_queue)

    try:
        applied = asyncio.run(run())
    except (RPCError, RuntimeError) as error:
        no_engine(settings, error)
    if as_json:
        print_json({"applied": applied})
    else:
        typer.echo(f"applied: {', '.join(applied)}")
