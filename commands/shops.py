"""`pointsaga shops`."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from commands.connections import with_session
from commands.options import Actor, AsJson, Fields, parse_fields
from commands.options import Shop as Domain
from commands.output import MISUSE, console, fail, print_json, print_message
from db import shops as queries
from db.tables import Shop
from services.import_changes import DoesNotFit
from services.import_format import ImportedShop, ShopSettings
from services.shops import change_shop, create_shop, credentials_of

shops = typer.Typer(help="Shops and their settings.", no_args_is_help=True)


@shops.command("create")
def create(shop: Domain, fields: Fields, *, actor: Actor, as_json: AsJson = False) -> None:
    """Create a shop, without credentials, rewards and customers.

    Example: `pointsaga shops create demo.myshopify.com name='Demo shop' currency=GBP`
    """
    named = parse_fields(ShopSettings, fields).model_dump(exclude_unset=True)
    new = parse_fields(ImportedShop, [], domain=shop).model_copy(update=named)

    async def work(session: AsyncSession) -> Shop:
        return await create_shop(session, new, actor=actor)

    _print_one(_run(work), as_json=as_json)


@shops.command("show")
def show(shop: Domain, *, as_json: AsJson = False) -> None:
    """Print a shop's settings, and which credentials are set."""
    _print_one(with_session(lambda session: get_shop(session, shop)), as_json=as_json)


@shops.command("edit")
def edit(shop: Domain, fields: Fields, *, actor: Actor, as_json: AsJson = False) -> None:
    """Change the named settings of a shop.

    Example: `pointsaga shops edit demo.myshopify.com enroll_customers=true`
    """
    changes = parse_fields(ShopSettings, fields)

    async def work(session: AsyncSession) -> Shop:
        return await change_shop(session, (await get_shop(session, shop)).id, changes, actor=actor)

    _print_one(_run(work), as_json=as_json)


@shops.command("list")
def list_shops(*, as_json: AsJson = False) -> None:
    """List the shops: name, currency, customers, and the vendors with credentials."""
    rows: Sequence[Shop] = with_session(queries.list_shops)
    if as_json:
        print_json([_as_json(row) for row in rows])
    elif not rows:
        print_message("there are no shops; add one with `pointsaga shops create` or `pointsaga import`")
    else:
        _print(rows)


async def get_shop(session: AsyncSession, domain: str) -> Shop:
    """The shop with this domain. Ends the command if there is none."""
    shop = await queries.find_shop(session, domain)
    if shop is None:
        fail(f"there is no shop {domain}; create it with `pointsaga shops create` or `pointsaga import`", status=MISUSE)
    return shop


def _run(work: Callable[[AsyncSession], Coroutine[Any, Any, Shop]]) -> Shop:
    try:
        return with_session(work)
    except DoesNotFit as error:
        fail(f"{error.field}: {error}" if error.field else str(error), status=MISUSE)


def _print_one(row: Shop, *, as_json: bool) -> None:
    settings = {name: getattr(row, name) for name in ShopSettings.model_fields if name != "release_grace_days"}
    settings |= {"release_grace_days": row.release_grace.days}
    if as_json:
        print_json({**_as_json(row), **settings, "credentials": credentials_of(row)})
        return
    typer.echo(f"domain: {row.domain}")
    for name, value in settings.items():
        typer.echo(f"{name}: {str(value).lower() if isinstance(value, bool) else value}")
    for name, is_set in credentials_of(row).items():
        typer.echo(f"{name}: {'set' if is_set else 'unset'}")


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
