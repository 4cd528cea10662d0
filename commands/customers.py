"""`pointsaga customers`."""

from pathlib import Path
from typing import Annotated

import typer

from commands.connections import with_database
from commands.options import Actor, AsJson, ShopDomain
from commands.output import DONE, TROUBLE, print_json, print_message
from commands.shops import get_shop
from database import Sessions
from services.customers import BulkResult, upsert_lines

customers = typer.Typer(help="Customers of a shop.", no_args_is_help=True)

PRINTED_FAILURES = 20


@customers.command("upsert")
def upsert(
    file: Annotated[
        Path, typer.Argument(help="One JSON object per line, with the fields of docs/import.md.", exists=True)
    ],
    *,
    shop: ShopDomain,
    actor: Actor,
    as_json: AsJson = False,
) -> None:
    """Create or update customers, one per line of a file. Safe to repeat, also after an interruption.

    Each line has its own outcome. Exit status 1 if some failed. Points are added by `pointsaga import` or the API.
    """

    async def work(store: Sessions) -> BulkResult:
        async with store() as session:
            of_shop = await get_shop(session, shop)
        with file.open("rb") as lines:
            return await upsert_lines(store, of_shop.id, lines, actor=actor)

    result = with_database(work)
    if as_json:
        print_json(result)
    else:
        typer.echo(f"{shop}: {result.created} created, {result.updated} updated, {len(result.failed)} failed")
        for failed in result.failed[:PRINTED_FAILURES]:
            print_message(f"line {failed.line}: {failed.detail}")
    raise typer.Exit(TROUBLE if result.failed else DONE)
