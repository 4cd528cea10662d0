"""`pointsaga migrate` and `pointsaga schedules`: prepare a deployment."""

import asyncio

import typer
from temporalio.service import RPCError

from commands.connections import fail_without_temporal, with_engine
from commands.options import AsJson
from commands.output import print_json
from database import migrate as upgrade_schema
from services.schedules import apply_schedules
from settings import connect_temporal, read_settings

schedules = typer.Typer(help="Temporal schedules: the reconciler and the expiry.", no_args_is_help=True)


def migrate(*, as_json: AsJson = False) -> None:
    """Migrate the database to the current schema. Safe to repeat, and to run from two places at once."""
    with_engine(upgrade_schema)
    if as_json:
        print_json({"up_to_date": True})
    else:
        typer.echo("the database is up to date")


@schedules.command("apply")
def apply(*, as_json: AsJson = False) -> None:
    """Create or update the schedules in Temporal. Safe to repeat."""
    settings = read_settings()

    async def run() -> list[str]:
        client = await connect_temporal(settings)
        return await apply_schedules(client, task_queue=settings.temporal_task_queue)

    try:
        applied = asyncio.run(run())
    except (RPCError, RuntimeError) as error:
        fail_without_temporal(settings, error)
    if as_json:
        print_json({"applied": applied})
    else:
        typer.echo(f"applied: {', '.join(applied)}")
