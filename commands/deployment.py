"""`pointsaga migrate` and `pointsaga schedules`: prepare a deployment."""

import typer

from commands.connections import with_engine, with_service
from commands.options import AsJson
from commands.output import print_json
from database import migrate as upgrade_schema
from services.schedules import apply_schedules

schedules = typer.Typer(help="Temporal schedules: the reconciler and the expiry.", no_args_is_help=True)


def migrate(*, as_json: AsJson = False) -> None:
    """Migrate the database to the current schema. Safe to repeat, and to run from two places at once.

    Changes nothing if a newer release has migrated it: this release runs with that schema.
    """
    is_current = with_engine(upgrade_schema)
    if as_json:
        print_json({"up_to_date": True})
    elif is_current:
        typer.echo("the database is up to date")
    else:
        typer.echo("a newer release has migrated the database; nothing was changed, this release runs with that schema")


@schedules.command("apply")
def apply(*, as_json: AsJson = False) -> None:
    """Create or update the schedules in Temporal. Safe to repeat."""
    applied = with_service(
        lambda service: apply_schedules(service.temporal, task_queue=service.settings.temporal_task_queue)
    )
    if as_json:
        print_json({"applied": applied})
    else:
        typer.echo(f"applied: {', '.join(applied)}")
