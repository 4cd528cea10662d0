"""`pointsaga shops`."""

from collections.abc import Sequence

import typer
from rich.table import Table

from commands.connections import with_session
from commands.options import AsJson
from commands.output import console, print_json, print_message
from db import shops as queries
from db.tables import Shop

shops = typer.Typer(help="Shops. `pointsaga import` adds and changes them.", no_args_is_help=True)


@shops.command("list")
def list_shops(*, as_json: AsJson = False) -> None:
    """List the shops: name, currency, customers, and the vendors with credentials."""
    rows: Sequence[Shop] = with_session(queries.list_shops)
    if as_json:
        print_json([_as_json(row) for row in rows])
    elif not rows:
        print_message("there are no shops; add one with `pointsaga import`")
    else:
        _print(rows)


def _print(rows: Sequence[Shop]) -> None:
    table = Table("id")
    # A wrapped domain cannot be copied.
    table.add_column("domain", no_wrap=True)
    for column in ("name", "currency", "customers", "vendors"):
        table.add_column(column)
    for row in rows:
        vendors = ", ".join(sorted(row.credentials)) or "none"
        table.add_row(str(row.id), row.domain, row.name, row.currency, str(row.customers), vendors)
    console().print(table)


def _as_json(row: Shop) -> dict[str, object]:
    columns = ("id", "domain", "name", "currency", "customers", "created_at")
    return {**{name: getattr(row, name) for name in columns}, "vendors": sorted(row.credentials)}
