"""Administration of the database."""

from pathlib import Path
from typing import Annotated

import typer

from commands.shared import MISUSE, AsJson, fail, print_json, with_database, with_engine
from database import migrate as upgrade_schema
from db.vault import Vault
from services.import_format import BadImport, read_import
from services.imports import Imported, write_import
from settings import read_settings


def import_file(
    file: Annotated[Path, typer.Argument(help="JSON file of shops, see docs/import.md.", exists=True, dir_okay=False)],
    *,
    as_json: AsJson = False,
) -> None:
    """Import shops, rewards, customers and their points. Safe to repeat: what is known is updated, not doubled."""
    settings = read_settings()
    vault = Vault(settings.encryption_keys)
    imported: list[Imported] = []

    def tell(shop: Imported) -> None:
        imported.append(shop)
        if not as_json:
            typer.echo(str(shop))

    errors: list[str] = []
    try:
        content = read_import(file)
        with_database(lambda sessions: write_import(sessions, vault, content, tell=tell), settings)
    except BadImport as error:
        errors = str(error).splitlines()
    if as_json:
        print_json({"imported": imported, "errors": errors})
    if errors:
        fail("\n".join([f"{file} was not imported:", *errors]), status=MISUSE)


def migrate(*, as_json: AsJson = False) -> None:
    """Bring the database's schema up to date. Safe to repeat, and from two places at once."""
    with_engine(upgrade_schema)
    if as_json:
        print_json({"up_to_date": True})
    else:
        typer.echo("the database is up to date")
