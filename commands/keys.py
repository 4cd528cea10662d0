from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from commands.connections import with_database, with_session
from commands.options import AsJson, ShopDomain, Yes
from commands.output import (
    MISUSE,
    TROUBLE,
    confirm,
    console,
    fail,
    format_time,
    print_json,
    print_message,
    progress_bar,
)
from commands.shops import get_shop
from db import api_keys
from db.tables import ApiKey
from db.vault import Vault
from domain.api_keys import KeyScope
from services.reseal import Reseal
from settings import read_settings

keys = typer.Typer(help="API keys of shops, and the keys that encrypt the database.", no_args_is_help=True)

EXPIRY_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]


@keys.command("create")
def create(
    *,
    shop: ShopDomain,
    scope: Annotated[
        KeyScope, typer.Option(help="`read_only`: reads; `full`: also redeems; `admin`: also administrates.")
    ],
    label: Annotated[str, typer.Option(help="What the key is for. Shown by `keys list`.")],
    expires_at: Annotated[
        datetime | None,
        typer.Option(formats=EXPIRY_FORMATS, help="When the key stops working, in UTC. Default: never."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it. It cannot be printed again.

    Example: `pointsaga keys create --shop demo.myshopify.com --scope full --label storefront`
    """
    key, end = api_keys.new_key(), expires_at and expires_at.replace(tzinfo=UTC)
    if end and end <= datetime.now(UTC):
        raise typer.BadParameter("give a time in the future", param_hint="--expires-at")

    async def work(session: AsyncSession) -> ApiKey:
        of_shop = await get_shop(session, shop)
        return await api_keys.create_key(session, of_shop, key, scope=scope, label=label, expires_at=end)

    row = with_session(work)
    if as_json:
        print_json({**_as_json(row), "key": key})
    else:
        print_message(f"key {row.id} of {shop}, {scope}. It is shown only once:")
        typer.echo(key)


@keys.command("list")
def list_keys(*, shop: ShopDomain, as_json: AsJson = False) -> None:
    """List the keys of a shop, including expired and revoked ones. The keys themselves are never shown."""

    async def work(session: AsyncSession) -> Sequence[ApiKey]:
        return await api_keys.list_keys(session, await get_shop(session, shop))

    rows = with_session(work)
    if as_json:
        print_json([_as_json(row) for row in rows])
        return
    table = Table("id", "label", "scope", "last used", *(f"{what} (UTC)" for what in ("created", "expires", "revoked")))
    for row in rows:
        times = [format_time(time) for time in (row.created_at, row.expires_at, row.revoked_at)]
        table.add_row(str(row.id), row.label, row.scope, str(row.last_used_on or ""), *times)
    console().print(table)


@keys.command("revoke")
def revoke(
    key_id: Annotated[int, typer.Argument(metavar="ID", help="The key's id, from `keys list`.")],
    *,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Revoke a key. It stops working at once, in every API process. Safe to repeat."""
    key = with_session(lambda session: session.get(ApiKey, key_id))
    if key is not None:
        confirm(f"Revoke key {key.id} ({key.label or 'no label'})? Its programs are refused at once.", yes=yes)
    found = with_session(lambda session: api_keys.revoke_key(session, key_id))
    if found is None:
        fail(f"there is no key {key_id}; `pointsaga keys list --shop …` shows the ids", status=MISUSE)
    row, shop = found
    if as_json:
        print_json({**_as_json(row), "shop": shop.domain})
    else:
        label = row.label or "no label"
        typer.echo(f"key {row.id} of {shop.domain} ({label}) was revoked at {format_time(row.revoked_at)} UTC")


@keys.command("reseal")
def reseal(*, as_json: AsJson = False) -> None:
    """Encrypt everything in the database again with the first of ENCRYPTION_KEYS, while purchases run.

    Credentials, secrets and contact data. Safe to interrupt and to repeat. Exit status 0: only the first key is needed
    any more. Exit status 1: keep the others.

    Restart all processes with the new key in front first, see SECURITY.md.
    """
    vault = Vault(read_settings().encryption_keys)
    with progress_bar() as bar:
        task = bar.add_task("rows", total=None)
        columns = with_database(lambda store: Reseal(store, vault).run(lambda rows: bar.advance(task, rows)))
    if as_json:
        print_json(columns)
    else:
        table = Table("contents", "resealed", "left", "unreadable")
        for one in columns:
            table.add_row(one.contents, *(str(number) for number in (one.resealed, one.left, one.unreadable)))
        console().print(table)
    if any(one.unreadable for one in columns):
        fail("none of ENCRYPTION_KEYS decrypts some: add the key, or set them anew", status=TROUBLE)
    if any(one.left for one in columns):
        fail("some are encrypted with an older key: restart processes with old settings, then repeat", status=TROUBLE)


def _as_json(row: ApiKey) -> dict[str, int | str | date | None]:
    names = ("id", "label", "scope", "created_at", "expires_at", "last_used_on", "revoked_at")
    return {name: getattr(row, name) for name in names}
