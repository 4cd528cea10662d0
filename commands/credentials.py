"""`pointsaga credentials`: vendors' credentials of shops."""

import asyncio
import sys
from typing import Annotated, NoReturn

import httpx
import typer
from pydantic import SecretStr
from rich.table import Table

from commands.connections import vendor_connections, with_database, with_session
from commands.options import Actor, AsJson, Shop
from commands.output import DONE, MISUSE, TROUBLE, console, fail, format_time, print_json
from database import Sessions
from db.shops import find_shop
from db.vault import Vault
from domain.vendors import SecretName, Vendor
from services.credentials import (
    MAX_WEBHOOK_SECRETS,
    Answer,
    Check,
    Listed,
    VendorChecks,
    list_credentials,
    set_secret,
    set_webhook_secrets,
)
from settings import Settings, read_settings
from vendor_clients import marketing_clients, shopify_client

credentials = typer.Typer(help="Vendors' credentials of shops. Stored encrypted, never shown.", no_args_is_help=True)

_AskVendors = Annotated[bool, typer.Option("--check", help="Ask the vendor whether it accepts them.")]


@credentials.command("set")
def set_credentials(
    shop: Shop,
    vendor: Annotated[SecretName, typer.Argument(metavar="VENDOR", help=f"One of: {', '.join(SecretName)}.")],
    *,
    check: _AskVendors = False,
    actor: Actor,
    as_json: AsJson = False,
) -> None:
    """Set a shop's API key or access token of one vendor. Reads it from standard input; a terminal does not show it.

    `webhook_secret` is the client secret of the shop's own app, which signs its webhooks: one line, or two while it is
    rotated. With `--check` a secret that the vendor refuses is not stored, and the exit status is 1.

    Example: `pointsaga credentials set demo.myshopify.com klaviyo --check < key.txt`
    """
    settings, secret = read_settings(), _read_secret()
    if with_session(lambda session: find_shop(session, shop)) is None:
        _fail_without_shop(shop)
    vault = Vault(settings.encryption_keys)
    if vendor is SecretName.WEBHOOK_SECRET:
        secrets = [SecretStr(line) for line in secret.get_secret_value().split()]
        if len(secrets) > MAX_WEBHOOK_SECRETS:
            fail(f"a shop has at most {MAX_WEBHOOK_SECRETS} webhook secrets", status=MISUSE)
        with_session(lambda session: set_webhook_secrets(session, vault, shop, secrets, actor=actor))
        _print_set(shop, vendor, None, as_json=as_json)
        return
    checked = asyncio.run(_ask(settings, shop, Vendor(vendor), secret)) if check else None
    is_stored = checked is None or checked.answer is not Answer.REFUSED
    if is_stored:
        with_session(lambda session: set_secret(session, vault, shop, Vendor(vendor), secret, actor=actor))
    _print_set(shop, vendor, checked, as_json=as_json)
    raise typer.Exit(DONE if is_stored else TROUBLE)


def _print_set(shop: str, vendor: str, checked: Check | None, *, as_json: bool) -> None:
    is_stored = checked is None or checked.answer is not Answer.REFUSED
    if as_json:
        print_json({"shop": shop, "vendor": vendor, "is_stored": is_stored, "check": checked})
    else:
        typer.echo(f"{shop}: {vendor} {'set' if is_stored else 'not set'}{_in_words(checked)}")


@credentials.command("list")
def list_all(
    shop: Annotated[str | None, typer.Argument(metavar="[SHOP]", help="Only this shop. Default: all.")] = None,
    *,
    check: _AskVendors = False,
    as_json: AsJson = False,
) -> None:
    """List which credentials are set, since when, and what the vendor answered to the worker's last call.

    With `--check`, exit status 1 if a vendor refuses some.
    """
    settings = read_settings()
    rows = with_database(lambda store: _list(store, settings, shop, check=check))
    if shop is not None and not rows:
        _fail_without_shop(shop)
    if as_json:
        print_json(rows)
    else:
        _print(rows)
    raise typer.Exit(TROUBLE if any(row.check and row.check.answer is Answer.REFUSED for row in rows) else DONE)


def _fail_without_shop(domain: str) -> NoReturn:
    fail(f"there is no shop {domain}; create it with `pointsaga shops create` or `pointsaga import`", status=MISUSE)


def _read_secret() -> SecretStr:
    secret = typer.prompt("secret", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read()
    if not secret.strip():
        fail("there is no secret on standard input", status=MISUSE)
    return SecretStr(secret.strip())


def _checks(settings: Settings, http: httpx.AsyncClient) -> VendorChecks:
    return VendorChecks(shopify=shopify_client(settings, http), marketing=marketing_clients(settings, http))


async def _ask(settings: Settings, shop: str, vendor: Vendor, secret: SecretStr) -> Check:
    async with vendor_connections() as http:
        return await _checks(settings, http).check(shop, vendor, secret)


async def _list(store: Sessions, settings: Settings, domain: str | None, *, check: bool) -> list[Listed]:
    vault = Vault(settings.encryption_keys)
    async with store() as session:
        shops = await list_credentials(session, vault, domain)
    rows = [(shop, row) for shop, rows in shops for row in rows]
    if not check:
        return [row for _, row in rows]
    async with vendor_connections() as http:
        checks = _checks(settings, http)
        return [await checks.checked(vault, shop, row) for shop, row in rows]


def _print(rows: list[Listed]) -> None:
    table = Table("shop", "vendor", "set (UTC)", "last call (UTC)", "check")
    for row in rows:
        set_at = format_time(row.set_at) or ("no ENCRYPTION_KEYS decrypt it" if row.is_set else "not set")
        last = row.last_call
        called = f"{format_time(last.at)}{_in_words(Check(answer=last.answer, reason=last.reason))}" if last else ""
        table.add_row(row.shop, row.vendor, set_at, called, _in_words(row.check).removeprefix(", "))
    console().print(table)


def _in_words(check: Check | None) -> str:
    if check is None:
        return ""
    return f", {check.answer}" + (f": {check.reason}" if check.reason else "")
