"""`pointsaga doctor` and `pointsaga shopify`."""

from typing import Annotated

import httpx
import typer
from sqlalchemy.ext.asyncio import AsyncSession

from clients.outcomes import VendorError
from clients.shopify_app import ShopifyApp
from commands.connections import vendor_connections, with_session
from commands.options import AsJson, Shop
from commands.output import DONE, MISUSE, TROUBLE, fail, print_json
from commands.shops import get_shop
from db.vault import Vault
from services.credentials import VendorChecks
from services.doctor import Diagnosis, Doctor, Level, Subscribed
from settings import Settings, read_settings
from vendor_clients import marketing_clients, shopify_client

shopify = typer.Typer(help="The app at Shopify.", no_args_is_help=True)

_MARKS = {Level.OK: "ok      ", Level.NOTE: "note    ", Level.PROBLEM: "PROBLEM "}


def doctor(shop: Shop, *, as_json: AsJson = False) -> None:
    """Say what a shop lacks or has wrong, and how to mend it: credentials, scopes, webhooks, rewards, keys.

    Asks the vendors; changes nothing. Exit status 1 if there is a problem; notes do not count.
    """
    settings = read_settings()

    async def work(session: AsyncSession) -> list[Diagnosis]:
        row = await get_shop(session, shop)
        async with vendor_connections() as http:
            return await _doctor(settings, http).examine(session, row)

    found = with_session(work)
    if as_json:
        print_json(found)
    else:
        for one in found:
            typer.echo(f"{_MARKS[one.level]}{one.check}: {one.detail}")
            if one.mend:
                typer.echo(f"          → {one.mend}")
    raise typer.Exit(TROUBLE if any(one.level is Level.PROBLEM for one in found) else DONE)


@shopify.command("subscribe")
def subscribe(
    shop: Shop,
    *,
    url: Annotated[str, typer.Option(help="Public https address of the API. `/webhooks/shopify` is added.")],
    as_json: AsJson = False,
) -> None:
    """Subscribe the shop's app to every webhook topic that Pointsaga processes. Safe to repeat.

    The compliance topics are in the app's configuration, see docs/webhooks.md. Exit status 1 if Shopify refused some.
    """
    if not url.startswith("https://"):
        fail("--url must begin with https://", status=MISUSE)
    settings = read_settings()

    async def work(session: AsyncSession) -> list[Subscribed]:
        row = await get_shop(session, shop)
        if "shopify" not in row.credentials:
            fail(f"set the access token first: pointsaga credentials set {shop} shopify", status=MISUSE)
        async with vendor_connections() as http:
            return await _doctor(settings, http).subscribe(row, url)

    try:
        results = with_session(work)
    except VendorError as error:
        fail(f"Shopify: {error.reason}", status=TROUBLE)
    if as_json:
        print_json(results)
    else:
        for one in results:
            typer.echo(f"{one.topic}: {one.error or ('subscribed' if one.is_new else 'was subscribed')}")
    raise typer.Exit(TROUBLE if any(one.error for one in results) else DONE)


def _doctor(settings: Settings, http: httpx.AsyncClient) -> Doctor:
    urls = ("shopify_admin_url", "klaviyo_url", "omnisend_url", "postscript_url")
    template, version = settings.shopify_admin_url, settings.shopify_api_version
    return Doctor(
        vault=Vault(settings.encryption_keys),
        checks=VendorChecks(shopify=shopify_client(settings, http), marketing=marketing_clients(settings, http)),
        app=ShopifyApp(http, url_template=template, api_version=version),
        app_secrets=len(settings.shopify_webhook_secrets),
        vendor_urls={name.upper(): getattr(settings, name) for name in urls},
    )
