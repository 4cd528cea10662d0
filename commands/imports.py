"""`pointsaga import` and `pointsaga customer-data`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from commands.connections import with_database, with_session
from commands.options import AsJson, DryRun, Yes
from commands.output import MISUSE, confirm, fail, print_json, progress_bar
from db.personal_data import export_customer
from db.shops import find_shop
from db.vault import Vault
from services.import_changes import ShopChanges, compare_import
from services.import_format import ImportFile, InvalidImport, read_import
from services.imports import Imported, write_import
from settings import read_settings

PRINTED_ERRORS = 20


@dataclass
class _Report:
    """The result of the command, as `--json` prints it."""

    changes: list[ShopChanges] = field(default_factory=list)
    imported: list[Imported] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def import_file(
    file: Annotated[Path, typer.Argument(help="JSON file, see docs/import.md.", exists=True, dir_okay=False)],
    *,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Import shops, rewards, customers and points. Changes only what the file names, and prints it first.

    Safe to repeat, also after an interruption: known ids are updated, no points are added twice. Removing credentials
    or a webhook secret, and changing a currency, need confirmation.
    """
    report = _Report()
    try:
        _import(file, report, yes=yes, dry_run=dry_run, as_json=as_json)
    except InvalidImport as error:
        report.errors = str(error).splitlines()
    finally:
        _print(report, as_json=as_json)
    if report.errors:
        fail(_failure(file, report), status=MISUSE)


def _import(file: Path, report: _Report, *, yes: bool, dry_run: bool, as_json: bool) -> None:
    content = read_import(file)
    vault = Vault(read_settings().encryption_keys)
    report.changes = with_database(lambda store: compare_import(store, vault, content))
    if not as_json:
        _print_changes(report.changes, dry_run=dry_run)
    if dry_run:
        return
    if any(change.needs_confirmation for shop in report.changes for change in shop.changes):
        confirm("Import it? This removes credentials or changes a currency.", yes=yes)
    _write(vault, content, report)


def _write(vault: Vault, content: ImportFile, report: _Report) -> None:
    with progress_bar() as bar:
        task = bar.add_task("customers", total=sum(len(shop.customers) for shop in content.shops))
        with_database(
            lambda store: write_import(
                store,
                vault,
                content,
                on_shop_imported=report.imported.append,
                on_customers_imported=lambda number: bar.advance(task, number),
            )
        )


def _print_changes(shops: list[ShopChanges], *, dry_run: bool) -> None:
    """Print the changes: as the result of a dry run, otherwise as a message."""
    lines = [f"{shop.domain}: {change.text}" for shop in shops for change in shop.changes]
    typer.echo("\n".join(lines or ["nothing to change"]), err=not dry_run)


def _print(report: _Report, *, as_json: bool) -> None:
    if as_json:
        print_json(report)
    else:
        for shop in report.imported:
            typer.echo(str(shop))


def _failure(file: Path, report: _Report) -> str:
    """The first errors and their number."""
    total = len(report.errors)
    lines = [f"{file} was not imported" + (" completely:" if report.changes else ":"), *report.errors[:PRINTED_ERRORS]]
    return "\n".join([*lines, f"{total} errors, {PRINTED_ERRORS} shown"] if total > PRINTED_ERRORS else lines)


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
