"""`pointsaga`: the operators' and developers' command line. What the commands do is in `commands/`."""

import typer

from commands.audit import audit
from commands.customers import customer_data
from commands.database import import_file, migrate
from commands.keys import keys
from commands.redrive import redrive_many
from commands.refund import refund
from commands.reprocess import retry, skip
from commands.schedules import schedules
from commands.shared import ADMINISTRATION, LOCAL, OPERATING
from commands.show import show
from commands.stack import demo, up
from commands.stuck import stuck
from telemetry import configure_logging, exit_process

app = typer.Typer(
    help="Pointsaga: loyalty points for Shopify discount codes.\n\n"
    "Exit status 0: done; 1: found trouble; 2: used wrongly. Settings come from the environment, see .env.example.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)


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
app.add_typer(keys, name="keys", rich_help_panel=ADMINISTRATION)
app.add_typer(schedules, name="schedules", rich_help_panel=ADMINISTRATION)
app.command(rich_help_panel=LOCAL)(up)
app.command(rich_help_panel=LOCAL)(demo)


def main() -> None:
    """Entry point of the console script."""
    # Unconfigured, the log would go to standard output, among what a program reads.
    configure_logging("WARNING", "text")
    try:
        app()
    except SystemExit as end:
        exit_process(end.code if isinstance(end.code, int) else int(bool(end.code)))


if __name__ == "__main__":
    main()
