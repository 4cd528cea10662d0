"""`pointsaga status`, and the lines about findings that `stuck` shares with it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

import typer
from rich.table import Table

from commands.connections import Service, with_database
from commands.options import AsJson
from commands.output import DONE, TROUBLE, console, format_age, print_json
from database import Sessions
from services.findings import Finding
from services.status import ShopStatus, Status
from services.workers import QueueState, SeenWorker
from settings import connect_temporal, read_settings

MAX_SHOPS = 20


def status(*, as_json: AsJson = False) -> None:
    """Say whether customers can buy in every shop, and what is wrong: since when, where, and the command that helps.

    Exit status 1 if any customer cannot buy. Changes nothing, and calls no vendor.
    """
    found = with_database(_check)
    if as_json:
        print_json({"customers_can_buy": found.customers_can_buy, **asdict(found)})
    else:
        _print(found)
    raise typer.Exit(DONE if found.customers_can_buy else TROUBLE)


async def _check(store: Sessions) -> Status:
    settings = read_settings()
    # Lazy, as a workflow service that is away is a finding.
    temporal = await connect_temporal(settings, lazy=True)
    return await Service(settings=settings, store=store, temporal=temporal).status_check.check()


def _print(found: Status) -> None:
    typer.echo(f"customers can buy: {'yes' if found.customers_can_buy else 'NO'}")
    print_findings(found.findings)
    typer.echo(f"database: {_ok(found.database)}, workflow service: {_ok(found.workflow_service)}")
    for queue in found.task_queues:
        typer.echo(f"workers of {queue.name}: {', '.join(_workers(queue)) or 'none'}")
    if found.schedules:
        listed = (f"{one.id} {one.state}" for one in found.schedules)
        typer.echo(f"schedules: {', '.join(listed)}")
    _print_shops(found.shops)


def print_findings(findings: Iterable[Finding]) -> None:
    """Print one line per finding: what, since when, which shop, which command."""
    for one in findings:
        since = f"for {format_age(one.since)}" if one.since else "now"
        where = f"{one.shop}: " if one.shop else ""
        typer.echo(f"- {since}: {where}{one.what}. To settle it: {one.command}")


def _ok(reachable: bool) -> str:
    return "ok" if reachable else "unreachable"


def _workers(queue: QueueState) -> Iterator[str]:
    for one in queue.workers:
        yield f"{one.identity} ({', '.join(_facts(one))})"


def _facts(worker: SeenWorker) -> Iterator[str]:
    yield f"{'silent for' if worker.silent else 'seen'} {format_age(worker.seen_at)}{'' if worker.silent else ' ago'}"
    if worker.build_id:
        yield f"build {worker.build_id}"
    if worker.free_slots is not None:
        yield f"{worker.used_slots} slots used, {worker.free_slots} free"


def _print_shops(shops: Sequence[ShopStatus]) -> None:
    """The shops with purchases, failing deliveries or a backlog."""
    listed = [one for one in shops if one.purchases or one.failing_deliveries or one.backlog]
    table = Table("shop", "credentials", "purchases, last 15 min", "oldest unfinished", show_lines=True)
    for one in listed[:MAX_SHOPS]:
        credentials = "\n".join(f"{vendor} {state}" for vendor, state in one.credentials.items())
        purchases = "\n".join(f"{row.number} {row.outcome}{_because(row.code)}" for row in one.purchases)
        oldest = f"{format_age(one.backlog.oldest)} ({one.backlog.number} unfinished)" if one.backlog else ""
        table.add_row(one.shop, credentials, purchases, oldest)
    if listed:
        console().print(table)
    if len(shops) > len(listed[:MAX_SHOPS]):
        typer.echo(f"{len(shops) - len(listed[:MAX_SHOPS])} more shops; --json lists all")


def _because(code: str | None) -> str:
    return f": {code}" if code else ""
