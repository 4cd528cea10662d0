from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

import typer

from commands.connections import Service, with_service
from commands.options import AsJson, parse_duration
from commands.output import DONE, TROUBLE, format_age, print_json
from commands.status import print_findings
from services.findings import MAX_ALIKE, Finding, group
from services.stuck import Stuck

OlderThan = Annotated[
    timedelta,
    typer.Option(parser=parse_duration, metavar="DURATION", help="List only what is overdue for this long, like 2m."),
]


def stuck(*, older_than: OlderThan = "2m", as_json: AsJson = False) -> None:  # pyright: ignore[reportArgumentType]
    """List stuck purchases and refunds: why, since when, and the command that helps.

    Begins with what prevents purchases now, as `status` says it. Exit status 1 if there is anything. More than three
    of one shop and reason are one line; --json lists every one.
    """

    async def work(service: Service) -> tuple[list[Finding], list[Stuck]]:
        checked = await service.status_check.check()
        found = [one async for one in service.stuck_finder.find(older_than=older_than)]
        return [one for one in checked.findings if one.blocks_purchases], found

    blocking, found = with_service(work)
    if as_json:
        print_json([*map(_finding_as_json, blocking), *map(_as_json, found)])
    else:
        print_findings(blocking)
        if found:
            print_stuck(found)
        else:
            typer.echo(f"nothing has been stuck for longer than {older_than.total_seconds():.0f} s (--older-than)")
    raise typer.Exit(TROUBLE if blocking or found else DONE)


def _as_json(one: Stuck) -> dict[str, Any]:
    return asdict(one) | {"advice": one.advice, "command": one.command}


def _finding_as_json(one: Finding) -> dict[str, Any]:
    """A row like that of a stuck redemption, with the kind `blocks_purchases`."""
    of_redemption = dict.fromkeys(("redemption_id", "event", "attempt", "run"))
    row = {"kind": "blocks_purchases", "shop": one.shop, "since": one.since, "why": one.what}
    return row | of_redemption | {"channels": [], "advice": "", "command": one.command}


def print_stuck(found: Sequence[Stuck]) -> None:
    """Print one line each, or one per shop and reason if there are more than three alike."""
    typer.echo(f"stuck: {len(found)}")
    for rows in group(found):
        if len(rows) > MAX_ALIKE:
            _print_line(rows[0], f" ({len(rows)})", rows[0].command_for_many)
        else:
            for one in rows:
                _print_line(one, "", one.command)


def _print_line(one: Stuck, number: str, command: str) -> None:
    where = f"{one.shop}: " if one.shop else ""
    typer.echo(
        f"- for {format_age(one.since)}: {where}{one.label}{number}: {one.why}. {one.advice.capitalize()} {command}"
    )
