"""`pointsaga import`."""

from pathlib import Path
from typing import Annotated

import typer

from commands.connections import with_database
from commands.options import AsJson
from commands.output import MISUSE, fail, print_json
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
    settings = read_settings()
    imported: list[Imported] = []
    errors: list[str] = []

    def on_shop_imported(shop: Imported) -> None:
        imported.append(shop)
        if not as_json:
            typer.echo(str(shop))

    try:
        content = read_import(file)
        vault = Vault(settings.encryption_keys)
        with_database(lambda store: write_import(store, vault, content, on_shop_imported=on_shop_imported), settings)
    except InvalidImport as error:
        errors = str(error).splitlines()
    if as_json:
        print_json({"imported": imported, "errors": errors})
    if errors:
        fail("\n".join([f"{file} was not imported:", *errors]), status=MISUSE)
