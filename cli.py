"""Composition root of the command line, `pointsaga`."""

from pathlib import Path
from typing import Annotated

import typer

from commands.actions import retry, skip
from commands.audit import audit
from commands.credentials import credentials
from commands.customers import customers
from commands.deployment import migrate, schedules
from commands.doctor import doctor, shopify
from commands.imports import customer_data, import_file
from commands.keys import keys
from commands.options import choose_stack
from commands.receipts import show
from commands.redrive import redrive_many
from commands.refunds import refund
from commands.rewards import rewards
from commands.shops import shops
from commands.stack import demo, env, up
from commands.status import status
from commands.stuck import stuck
from telemetry import configure_logging, exit_process

VERSION = "0.2.0"

OPERATING, ADMINISTRATION, LOCAL = "Redemptions", "Administration", "Local stack"

app = typer.Typer(
    help="Pointsaga: loyalty points for Shopify discount codes.\n\n"
    "Exit status 0: done; 1: problems found; 2: wrong usage, or the database is not migrated; 3: the database or "
    "Temporal cannot be reached.\n\n"
    "Settings come from the environment, see .env.example, or from a running local stack.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pointsaga {VERSION}")
        raise typer.Exit


@app.callback()
def choose(
    *,
    stack: Annotated[
        Path | None,
        typer.Option(
            "--stack",
            metavar="DIR",
            help="Use the local stack with this data directory. Default: the one in .data, if it runs and DATABASE_URL "
            "is not set. Variables of the environment come first.",
        ),
    ] = None,
    version: Annotated[  # pyright: ignore[reportUnusedParameter] - its callback ends the program
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Choose the deployment that the command acts on."""
    choose_stack(stack)


app.command(rich_help_panel=OPERATING)(status)
app.command(rich_help_panel=OPERATING)(stuck)
app.command(rich_help_panel=OPERATING)(show)
app.command(rich_help_panel=OPERATING)(retry)
app.command(rich_help_panel=OPERATING)(skip)
app.command(rich_help_panel=OPERATING)(refund)
app.command("redrive", rich_help_panel=OPERATING)(redrive_many)
app.command(rich_help_panel=OPERATING)(audit)
app.command("import", rich_help_panel=ADMINISTRATION)(import_file)
app.command(rich_help_panel=ADMINISTRATION)(migrate)
app.command("customer-data", rich_help_panel=ADMINISTRATION)(customer_data)
app.command(rich_help_panel=ADMINISTRATION)(doctor)
app.add_typer(shopify, name="shopify", rich_help_panel=ADMINISTRATION)
app.add_typer(shops, name="shops", rich_help_panel=ADMINISTRATION)
app.add_typer(rewards, name="rewards", rich_help_panel=ADMINISTRATION)
app.add_typer(customers, name="customers", rich_help_panel=ADMINISTRATION)
app.add_typer(credentials, name="credentials", rich_help_panel=ADMINISTRATION)
app.add_typer(keys, name="keys", rich_help_panel=ADMINISTRATION)
app.add_typer(schedules, name="schedules", rich_help_panel=ADMINISTRATION)
app.command(rich_help_panel=LOCAL)(up)
app.command(rich_help_panel=LOCAL)(demo)
app.command(rich_help_panel=LOCAL)(env)


def main() -> None:
    """Run a command. Entry point of the console script."""
    # Without this, log lines go to standard output, among the results.
    configure_logging("WARNING", "text")
    try:
        app()
    except SystemExit as end:
        exit_process(end.code if isinstance(end.code, int) else int(bool(end.code)))


if __name__ == "__main__":
    main()
