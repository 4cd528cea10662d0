from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from itertools import groupby
from typing import Annotated

import typer
from rich.table import Table

from commands.connections import Service, with_service
from commands.options import AsJson, parse_duration
from commands.output import DONE, TROUBLE, console, format_age, print_json
from services.stuck import Stuck

# More rows than this are counted by reason.
MAX_ROWS = 20

OlderThan = Annotated[
    timedelta,
    typer.Option(parser=parse_duration, metavar="DURATION", help="List only what is overdue for this long, like 2m."),
]


def stuck(*, older_than: OlderThan = "2m", as_json: AsJson = False) -> None:  # pyright: ignore[reportArgumentType]
    """List stuck purchases and refunds: why, since when, and the command that helps.

    Exit status 1 if there are any. More than 20 are counted by reason; --json lists every one.
    """

    async def work(service: Service) -> list[Stuck]:
        return [one async for one in service.stuck_finder.find(older_than=older_than)]

    found = with_service(work)
    if as_json:
        print_json([asdict(one) | {"advice": one.advice, "command": one.command} for one in found])
    elif found:
        print_stuck(found)
    else:
        typer.echo(f"nothing has been stuck for longer than {older_than.total_seconds():.0f} s (--older-than)")
    raise typer.Exit(TROUBLE if found else DONE)


def print_stuck(found: Sequence[Stuck]) -> None:
    """Print one row each, or one per reason if there are many."""
    each = len(found) <= MAX_ROWS
    columns = ("for", "why") if each else ("how many", "for up to", "why")
    table = Table(*columns, title=f"stuck: {len(found)}", show_lines=True)
    # A wrapped command cannot be copied.
    table.add_column("what helps", no_wrap=True)
    by_reason = sorted(found, key=lambda one: (one.kind, one.why, one.since))
    if each:
        for one in by_reason:
            table.add_row(format_age(one.since), _reason(one), f"{one.advice}\n{one.command}")
    else:
        for reason, group in groupby(by_reason, key=_reason):
            oldest, *others = group
            help_text = f"{oldest.advice}\n{oldest.command_for_many}"
            table.add_row(str(1 + len(others)), format_age(oldest.since), reason, help_text)
    console().print(table)


def _reason(one: Stuck) -> str:
    return f"{one.kind.replace('_', ' ')}: {one.why}"
