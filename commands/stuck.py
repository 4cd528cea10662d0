"""`pointsaga stuck`."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Annotated

import typer
from rich.table import Table

from commands.connections import Service, with_service
from commands.options import AsJson, parse_duration
from commands.output import DONE, TROUBLE, console, format_age, print_json
from services.stuck import Stuck, StuckFinder

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
        return [one async for one in stuck_finder(service).find(older_than=older_than)]

    found = with_service(work)
    if as_json:
        print_json([asdict(one) | {"advice": one.advice, "command": one.command} for one in found])
    elif found:
        print_stuck(found)
    else:
        typer.echo(f"nothing has been stuck for longer than {older_than.total_seconds():.0f} s (--older-than)")
    raise typer.Exit(TROUBLE if found else DONE)


def stuck_finder(service: Service) -> StuckFinder:
    """The finder of this deployment."""
    return StuckFinder(store=service.store, temporal=service.temporal, task_queue=service.settings.temporal_task_queue)


def print_stuck(found: Sequence[Stuck]) -> None:
    """Print one row each, or one per reason if there are many."""
    by_reason = sorted(found, key=lambda one: (one.kind, one.why, one.since))
    console().print(_table_of_each(by_reason) if len(found) <= MAX_ROWS else _table_of_reasons(by_reason))


def _table_of_each(found: Sequence[Stuck]) -> Table:
    table = _table(found, "for")
    for one in found:
        table.add_row(_age(one), _reason(one), f"{one.advice}\n{one.command}")
    return table


def _table_of_reasons(found: Sequence[Stuck]) -> Table:
    table = _table(found, "how many", "for up to")
    for reason, group in groupby(found, key=_reason):
        oldest, *others = group
        help_text = f"{oldest.advice}\n{oldest.command_for_many}"
        table.add_row(str(1 + len(others)), _age(oldest), reason, help_text)
    return table


def _table(found: Sequence[Stuck], *columns: str) -> Table:
    table = Table(*columns, "why", title=f"stuck: {len(found)}", show_lines=True)
    # A wrapped command cannot be copied.
    table.add_column("what helps", no_wrap=True)
    return table


def _reason(one: Stuck) -> str:
    return f"{one.kind.replace('_', ' ')}: {one.why}"


def _age(one: Stuck) -> str:
    return format_age(one.since, datetime.now(UTC))
