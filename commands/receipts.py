"""`pointsaga show`."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, cast

from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.service import RPCError

from commands.connections import with_session
from commands.options import AsJson, Reference
from commands.output import MISUSE, console, fail, format_time, join_some, print_json, print_message
from db.lookups import find_redemption_ids
from db.receipts import PurchaseRequest, Receipt, find_receipt, find_request
from domain.discounts import CodeState
from domain.events import channel_label
from domain.ids import purchase_workflow_id
from domain.redemptions import RedemptionStatus
from services.receipts import WorkflowState, workflows_of
from settings import Settings, connect_temporal, read_settings


def show(reference: Reference, *, as_json: AsJson = False) -> None:
    """Show the receipt of a redemption: steps, lots, codes, deliveries, reversals and workflows.

    The output contains the customer's discount code. Without Temporal, workflows are left out.
    """
    found = with_session(lambda session: _find(session, reference))
    workflows = asyncio.run(_workflows(read_settings(), found))
    if as_json:
        print_json({**found.model_dump(), "runs": workflows})
    elif isinstance(found, Receipt):
        _print(console(), found, workflows)
    else:
        _print_request(console(), found, workflows)


async def _find(session: AsyncSession, reference: str) -> Receipt | PurchaseRequest:
    ids = await find_redemption_ids(session, reference) or [reference]
    if len(ids) > 1:
        fail(f"{reference} belongs to several redemptions: {join_some(ids)}", status=MISUSE)
    found = await find_receipt(session, ids[0]) or await find_request(session, ids[0])
    if found is None:
        fail(f"there is no redemption {reference}", status=MISUSE)
    return found


async def _workflows(settings: Settings, receipt: Receipt | PurchaseRequest) -> list[WorkflowState] | None:
    try:
        temporal = await connect_temporal(settings)
        orders = [one.order_id for one in receipt.reissues] if isinstance(receipt, Receipt) else []
        ui = settings.temporal_ui_url
        return await workflows_of(temporal, receipt.id, receipt.attempts, orders=orders, ui=ui)
    except (RPCError, RuntimeError) as error:
        print_message(f"Temporal at {settings.temporal_address} is unavailable: {error}")
        return None


def _print_request(out: Console, request: PurchaseRequest, workflows: Sequence[WorkflowState] | None) -> None:
    """Print a purchase that was refused, or that no worker has taken yet: the ledger has no redemption of it."""
    out.print(f"{request.id} is {request.status}: no points were reserved")
    out.print(
        f"shop: {request.shop}, requested at {format_time(request.requested_at)} UTC, attempts: {request.attempts}"
    )
    _print_workflows(out, request, workflows)


def _print(out: Console, receipt: Receipt, workflows: Sequence[WorkflowState] | None) -> None:
    _print_head(out, receipt)
    steps = [(format_time(one.at), one.what) for one in receipt.steps]
    _print_table(out, "steps", ("when (UTC)", "what"), steps)
    lots = [(str(one.attempt), str(one.lot_id), one.source, str(one.points)) for one in receipt.lots]
    _print_table(out, "lots drawn, oldest first", ("attempt", "lot", "source", "points"), lots)
    codes = [
        (str(one.attempt), one.code, one.state, str(one.unanswered) if one.state == CodeState.PLANNED else "")
        for one in receipt.codes
    ]
    _print_table(out, "codes", ("attempt", "code", "state", "unknown outcomes"), codes)
    deliveries = [
        (channel_label(one.channel, one.event), one.status, str(one.attempts), one.last_error or "")
        for one in receipt.deliveries
    ]
    _print_table(out, "deliveries", ("channel", "status", "attempts", "last error"), deliveries)
    log = [(format_time(one.at), one.kind, _facts(one.facts)) for one in receipt.log]
    _print_table(out, "activity log", ("when (UTC)", "what", "facts"), log)
    _print_workflows(out, receipt, workflows)


def _print_head(out: Console, receipt: Receipt) -> None:
    reward = receipt.reward
    refunded = ", refunded" if receipt.is_refunded else ""
    released = ", released" if receipt.status == RedemptionStatus.FAILED else refunded
    out.print(f"{receipt.id} is {receipt.status}{refunded}")
    grid = Table.grid(padding=(0, 2))
    for name, value in (
        ("shop", receipt.shop),
        ("customer", receipt.customer_id),
        ("reward", f"{reward.name} ({reward.id}, {reward.discount_type})"),
        ("points", f"{receipt.points_spent}{released}"),
        ("attempts", str(receipt.attempts)),
        ("code expires", f"{format_time(receipt.expires_at)} UTC" if receipt.expires_at else "never"),
    ):
        grid.add_row(name, value)
    out.print(grid)


def _print_table(out: Console, title: str, columns: Sequence[str], rows: Sequence[Iterable[str]]) -> None:
    if not rows:
        return
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    out.print(table)


def _print_workflows(
    out: Console, receipt: Receipt | PurchaseRequest, workflows: Sequence[WorkflowState] | None
) -> None:
    if not workflows:
        out.print(f"workflow: {purchase_workflow_id(receipt.id, receipt.attempts)} (not found in Temporal)")
    for one in workflows or ():
        stage = f", {one.stage}" if one.stage else ""
        out.print(f"workflow: {one.link or one.id}: {one.status}{stage}", soft_wrap=True)
        for step in one.waiting:
            out.print(f"     {step.step}, attempt {step.attempt}: {step.last_error or 'in progress'}")


def _facts(facts: dict[str, Any]) -> str:
    return " · ".join(f"{name} {_join(value)}" for name, value in facts.items() if value not in (None, "", []))


def _join(value: object) -> str:
    return ", ".join(map(str, cast("list[object]", value))) if isinstance(value, list) else str(value)
