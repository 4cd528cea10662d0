"""`pointsaga audit`."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated

import httpx
import typer
from rich.table import Table

from activities.drift import Drift
from clients.shopify import Shopify
from commands.shared import DONE, TROUBLE, AsJson, Service, out, print_json, progress_bar, with_database, with_service
from commands.stuck import finder
from database import Sessions
from db.audit import INVARIANTS, Finding
from db.audit import audit as find_broken_invariants
from db.drift import count_codes
from db.vault import Vault
from services.audit import DRIFTS, drifted_codes, stranded


def audit(
    *,
    ledger_only: Annotated[
        bool, typer.Option("--ledger-only", help="Ask neither Temporal nor Shopify: only the ledger's own invariants.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check the ledger's invariants, and that ledger, workflows and Shopify's codes agree. Changes nothing.

    Exit status 1, and a row for each, when something is off. Every active code costs one request to Shopify, at the
    pace that Shopify asks for.
    """
    findings = with_database(_ledger)
    if not ledger_only:
        findings += with_service(_drift)
    checks = [*INVARIANTS, *(() if ledger_only else DRIFTS)]
    if as_json:
        print_json({"invariants": checks, "findings": findings})
    else:
        _print(findings, checks)
    raise typer.Exit(TROUBLE if findings else DONE)


def vendors() -> AbstractAsyncContextManager[httpx.AsyncClient]:
    """Connections to Shopify."""
    return httpx.AsyncClient()


async def _ledger(store: Sessions) -> list[Finding]:
    async with store.begin() as session:
        return await find_broken_invariants(session)


async def _drift(service: Service) -> list[Finding]:
    settings = service.settings
    async with service.store() as session:
        total = await count_codes(session)
    async with vendors() as http:
        shopify = Shopify(http, url_template=settings.shopify_admin_url, api_version=settings.shopify_api_version)
        drift = Drift(service.store, Vault(settings.encryption_keys), shopify)
        with progress_bar() as bar:
            task = bar.add_task("codes at Shopify", total=total)
            drifted = await drifted_codes(service.store, drift, advance=lambda number: bar.advance(task, number))
    return drifted + await stranded(finder(service))


def _print(findings: Sequence[Finding], checks: Sequence[str]) -> None:
    if not findings:
        typer.echo(f"audit: clean ({len(checks)} invariants hold)")
        return
    table = Table("broken invariant", "where", "what", title=f"audit: {len(findings)} findings")
    for row in findings:
        table.add_row(row.invariant, row.subject, row.detail)
    out().print(table)
