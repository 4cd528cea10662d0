"""`pointsaga show`."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table
from temporalio.service import RPCError

from commands.shared import MISUSE, AsJson, at, fail, out, print_json, say, with_database
from database import Sessions
from db.receipts import Receipt, find_receipt
from domain.events import named
from domain.redemptions import workflow_id
from services.receipts import Run, runs_of
from settings import Settings, connect_temporal, read_settings


def show(
    redemption_id: Annotated[str, typer.Argument(metavar="ID", help="The redemption, like cr_4k1t9zq0m2x7c8v5b3n6.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show a redemption's receipt: its steps, lots, codes, deliveries, reversals and runs.

    It shows the customer's discount code; mind where you paste it. Without Temporal it shows all but the runs.
    """
    settings = read_settings()

    async def work(store: Sessions) -> tuple[Receipt | None, list[Run] | None]:
        async with store() as session:
            receipt = await find_receipt(session, redemption_id)
        return receipt, receipt and await _runs(settings, receipt)

    receipt, runs = with_database(work, settings)
    if receipt is None:
        fail(f"there is no redemption {redemption_id}", status=MISUSE)
    if as_json:
        print_json({**receipt.model_dump(), "runs": runs})
    else:
        _print(out(), receipt, runs)


async def _runs(settings: Settings, receipt: Receipt) -> list[Run] | None:
    try:
        temporal = await connect_temporal(settings)
        return await runs_of(temporal, receipt.id, receipt.attempts, ui=settings.temporal_ui_url)
    except (RPCError, RuntimeError) as error:
        say(f"Temporal at {settings.temporal_address} cannot be asked about its runs: {error}")
        return None


def _print(console: Console, receipt: Receipt, runs: Sequence[Run] | None) -> None:
    _print_head(console, receipt)
    _print_table(console, "steps", receipt.steps, {"when (UTC)": lambda one: at(one.at), "what": lambda one: one.what})
    _print_table(
        console,
        "lots drawn, oldest first",
        receipt.lots,
        {
            "attempt": lambda one: one.attempt,
            "lot": lambda one: one.lot_id,
            "source": lambda one: one.source,
            "points": lambda one: one.points,
        },
    )
    _print_table(
        console,
        "codes",
        receipt.codes,
        {
            "attempt": lambda one: one.attempt,
            "code": lambda one: one.code,
            "state": lambda one: one.state,
            "unanswered": lambda one: one.unanswered if one.state == "planned" else "",
        },
    )
    _print_table(
        console,
        "deliveries",
        receipt.deliveries,
        {
            "channel": lambda one: named(one.channel, one.event),
            "status": lambda one: one.status,
            "tries": lambda one: one.attempts,
            "last error": lambda one: one.last_error or "",
        },
    )
    _print_table(
        console,
        "activity log",
        receipt.log,
        {"when (UTC)": lambda one: at(one.at), "what": lambda one: one.kind, "facts": lambda one: _facts(one.facts)},
    )
    _print_runs(console, receipt, runs)


def _print_head(console: Console, receipt: Receipt) -> None:
    reward = receipt.reward
    given_back = ", given back" if receipt.status == "failed" or receipt.is_refunded else ""
    console.print(f"{receipt.id} is {receipt.status}{', refunded' if receipt.is_refunded else ''}")
    grid = Table.grid(padding=(0, 2))
    for name, value in (
        ("shop", receipt.shop),
        ("customer", receipt.customer_id),
        ("reward", f"{reward.name} ({reward.id}, {reward.discount_type})"),
        ("points", f"{receipt.points_spent}{given_back}"),
        ("attempts", str(receipt.attempts)),
        ("code expires", f"{at(receipt.expires_at)} UTC" if receipt.expires_at else "never"),
    ):
        grid.add_row(name, value)
    console.print(grid)


def _print_table(
    console: Console, title: str, rows: Sequence[Any], columns: dict[str, Callable[[Any], object]]
) -> None:
    if not rows:
        return
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(str(value(row)) for value in columns.values()))
    console.print(table)


def _print_runs(console: Console, receipt: Receipt, runs: Sequence[Run] | None) -> None:
    if not runs:
        console.print(f"run: {workflow_id(receipt.id, receipt.attempts)} (not known to Temporal any more)")
    for run in runs or ():
        console.print(f"run: {run.link or run.id}: {run.status}{f', {run.stage}' if run.stage else ''}", soft_wrap=True)
        for step in run.waiting:
            console.print(f"     {step.step}, try {step.attempt}: {step.last_error or 'under way'}")


def _facts(facts: dict[str, Any]) -> str:
    return " · ".join(f"{name} {_words(value)}" for name, value in facts.items() if value not in (None, "", []))


def _words(value: object) -> str:
    return ", ".join(map(str, cast("list[object]", value))) if isinstance(value, list) else str(value)
