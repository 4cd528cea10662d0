"""`pointsaga stuck`."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Annotated

import typer
from rich.table import Table

from commands.shared import DONE, TROUBLE, AsJson, Service, ago, duration, out, print_json, with_service
from services.stuck import Finder, Stuck

# As many as can be read one by one; of more, it is told how many share a reason.
ONE_BY_ONE = 20

OlderThan = Annotated[
    timedelta, typer.Option(parser=duration, metavar="DURATION", help="Only what should have ended this long ago.")
]


def stuck(*, older_than: OlderThan = "2m", as_json: AsJson = False) -> None:  # pyright: ignore[reportArgumentType]
    """List every redemption that is not where it should be: why, since when, and what helps.

    Exit status 1 when there is one, 0 when there is none. Many are counted by their reason; --json lists all.
    """

    async def work(service: Service) -> list[Stuck]:
        return [one async for one in finder(service).find(older_than=older_than)]

    found = with_service(work)
    if as_json:
        print_json([asdict(one) | {"advice": one.advice, "command": one.command} for one in found])
    elif found:
        print_stuck(found)
    else:
        typer.echo(f"nothing has been stuck for longer than {older_than.total_seconds():.0f} s (--older-than)")
    raise typer.Exit(TROUBLE if found else DONE)


def finder(service: Service) -> Finder:
    """Looks for what is stuck in this deployment."""
    return Finder(store=service.store, temporal=service.temporal, task_queue=service.settings.temporal_task_queue)


def print_stuck(found: Sequence[Stuck]) -> None:
    """One row each, or one row for each reason when there are many."""
    by_reason = sorted(found, key=lambda one: (one.kind, one.why, one.since))
    out().print(_listed(by_reason) if len(found) <= ONE_BY_ONE else _counted(by_reason))


def _listed(found: Sequence[Stuck]) -> Table:
    table = _table("for", title=_title(found))
    for one in found:
        table.add_row(_ago(one), _why(one), f"{one.advice}\n{one.command}")
    return table


def _counted(found: Sequence[Stuck]) -> Table:
    table = _table("how many", "for up to", title=_title(found))
    for _, group in groupby(found, key=lambda one: (one.kind, one.why)):
        alike = list(group)
        oldest = alike[0]
        table.add_row(str(len(alike)), _ago(oldest), _why(oldest), f"{oldest.advice}\n{oldest.command_for_many}")
    return table


def _table(*columns: str, title: str) -> Table:
    table = Table(*columns, "why", title=title, show_lines=True)
    # A command that is broken in two cannot be copied.
    table.add_column("what helps", no_wrap=True)
    return table


def _title(found: Sequence[Stuck]) -> str:
    return f"stuck: {len(found)}"


def _why(one: Stuck) -> str:
    return f"{one.kind.replace('_', ' ')}: {one.why}"


def _ago(one: Stuck) -> str:
    return ago(one.since, datetime.now(UTC))
