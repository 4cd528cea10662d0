"""API keys of shops."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table

from commands.shared import MISUSE, AsJson, at, fail, out, print_json, say, with_database
from database import Sessions
from db import api_keys as keyring
from db.shops import find_shop
from db.tables import ApiKey, Shop

keys = typer.Typer(help="API keys of shops. Only a key's hash is kept.", no_args_is_help=True)


class Scope(StrEnum):
    """What a key may do."""

    FULL = "full"
    READ_ONLY = "read_only"


OfShop = Annotated[str, typer.Option("--shop", help="The shop's domain, like demo.myshopify.com.")]


@keys.command("create")
def create(
    *,
    shop: OfShop,
    scope: Annotated[Scope, typer.Option(help="`read_only` keys can redeem nothing.")],
    label: Annotated[str, typer.Option(help="What it is for, to know it by in the list.")],
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once: nobody can print it again.

    Example: `pointsaga keys create --shop demo.myshopify.com --scope full --label storefront`
    """
    key = keyring.new_key()

    async def work(store: Sessions) -> ApiKey | None:
        async with store.begin() as session:
            found = await find_shop(session, shop)
            return found and await keyring.create_key(session, found, key, scope=scope, label=label)

    row = with_database(work)
    if row is None:
        _no_shop(shop)
    if as_json:
        print_json({**_shown(row), "key": key})
    else:
        say(f"key {row.id} of {shop}, {scope}. It is shown this once:")
        typer.echo(key)


@keys.command("list")
def list_keys(*, shop: OfShop, as_json: AsJson = False) -> None:
    """List a shop's keys, revoked ones too; never the keys themselves."""

    async def work(store: Sessions) -> list[dict[str, Any]] | None:
        async with store() as session:
            found: Shop | None = await find_shop(session, shop)
            return None if found is None else [_shown(row) for row in await keyring.keys_of(session, found)]

    rows = with_database(work)
    if rows is None:
        _no_shop(shop)
    if as_json:
        print_json(rows)
        return
    table = Table("id", "label", "scope", "created (UTC)", "revoked (UTC)")
    for row in rows:
        table.add_row(str(row["id"]), row["label"], row["scope"], at(row["created_at"]), at(row["revoked_at"]))
    out().print(table)


@keys.command("revoke")
def revoke(
    key_id: Annotated[int, typer.Argument(metavar="ID", help="As `keys list` shows it.")], *, as_json: AsJson = False
) -> None:
    """Refuse a key from now on, in every API process. Safe to repeat."""

    async def work(store: Sessions) -> tuple[ApiKey, Shop] | None:
        async with store.begin() as session:
            return await keyring.revoke_key(session, key_id)

    found = with_database(work)
    if found is None:
        fail(f"there is no key {key_id}; `pointsaga keys list --shop …` shows the ids", status=MISUSE)
    row, shop = found
    if as_json:
        print_json({**_shown(row), "shop": shop.domain})
    else:
        label = row.label or "no label"
        typer.echo(f"key {row.id} of {shop.domain} ({label}) is refused since {at(row.revoked_at)} UTC")


def _shown(row: ApiKey) -> dict[str, int | str | datetime | None]:
    return {
        "id": row.id,
        "label": row.label,
        "scope": row.scope,
        "created_at": row.created_at,
        "revoked_at": row.revoked_at,
    }


def _no_shop(domain: str) -> NoReturn:
    fail(f"there is no shop {domain}; `pointsaga import` makes one", status=MISUSE)
