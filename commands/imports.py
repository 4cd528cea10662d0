"""`pointsaga import` and `pointsaga customer-data`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from commands.connections import with_database, with_session
from commands.options import AsJson
from commands.output import MISUSE, fail, print_json
from db.personal_data import export_customer
from db.shops import find_shop
from db.vault import Vault
from services.import_format import InvalidImport, read_import
from services.imports import Imported, write_import
from settings import read_settings


def import_file(
    file: Annotated[Path, typer.Argument(help="JSON file, see docs/import.md.", exists=True, dir_okay=False)],
    *,
    as_json: AsJson = False,
) -> None:
    """Import shops, rewards, customers and points. Safe to repeat: known ids are updated, no points are added twice."""
    imported: list[Imported] = []
    errors: list[str] = []

    def on_shop_imported(shop: Imported) -> None:
        imported.append(shop)
        if not as_json:
            typer.echo(str(shop))

    try:
        content = read_import(file)
        vault = Vault(read_settings().encryption_keys)
        with_database(lambda store: write_import(store, vault, content, on_shop_imported=on_shop_imported))
    except InvalidImport as error:
        errors = str(error).splitlines()
    if as_json:
        print_json({"imported": imported, "errors": errors})
    if errors:
        fail("\n".join([f"{file} was not imported:", *errors]), status=MISUSE)


def customer_data(
    shop: Annotated[str, typer.Argument(help="The shop's domain, like demo.myshopify.com.")],
    customer: Annotated[str, typer.Argument(help="The customer's Shopify id.")],
) -> None:
    """Print all data that is stored about a customer, as JSON. For answering a customer's data request."""

    async def find(session: AsyncSession) -> dict[str, list[dict[str, Any]]] | None:
        found = await find_shop(session, shop)
        return found and await export_customer(session, found.id, customer)

    data = with_session(find)
    if not data or not data["customers"]:
        fail(f"{shop} has no customer {customer}", status=MISUSE)
    print_json(data)
