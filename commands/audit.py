from collections.abc import Sequence
from typing import Annotated

import typer

from activities.drift import Drift
from commands.connections import Service, vendor_connections, with_database, with_service
from commands.options import AsJson
from commands.output import DONE, TROUBLE, print_json, progress_bar
from database import Sessions
from db.audit import INVARIANTS, Finding
from db.audit import audit as audit_ledger
from db.discount_codes import count_comparable_codes
from db.vault import Vault
from services.audit import DRIFTS, compare_codes, find_orphaned, grouped
from vendor_clients import shopify_client


def audit(
    *,
    ledger_only: Annotated[
        bool, typer.Option("--ledger-only", help="Check only the ledger, without Temporal and Shopify.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check the ledger's invariants, and compare ledger, workflows and Shopify codes. Changes nothing.

    Exit status 1 if anything is wrong. Every active code costs one request to Shopify, within its rate limit.
    """
    findings = with_database(_audit_ledger)
    if not ledger_only:
        findings += with_service(_find_drift)
    checks = [*INVARIANTS, *(() if ledger_only else DRIFTS)]
    if as_json:
        print_json({"invariants": checks, "findings": findings})
    else:
        _print(findings, checks)
    raise typer.Exit(TROUBLE if findings else DONE)


async def _audit_ledger(store: Sessions) -> list[Finding]:
    async with store.snapshot() as session:
        return await audit_ledger(session)


async def _find_drift(service: Service) -> list[Finding]:
    settings = service.settings
    async with service.store() as session:
        total = await count_comparable_codes(session)
    async with vendor_connections() as http:
        drift = Drift(service.store, Vault(settings.encryption_keys), shopify_client(settings, http))
        with progress_bar() as bar:
            task = bar.add_task("codes at Shopify", total=total)
            drifted = await compare_codes(service.store, drift, on_compared=lambda number: bar.advance(task, number))
    return drifted + await find_orphaned(service.stuck_finder)


def _print(findings: Sequence[Finding], checks: Sequence[str]) -> None:
    if not findings:
        typer.echo(f"audit: clean ({len(checks)} invariants hold)")
        return
    typer.echo(f"audit: {len(findings)} findings")
    for row in grouped(findings):
        where = f"{row.shop}: " if row.shop else ""
        typer.echo(f"- {where}{row.subject}: {row.detail}. Broken: {row.invariant}")
    for command in dict.fromkeys(row.command for row in findings if row.command):
        typer.echo(f"what helps: {command}")
