"""`pointsaga refund`."""

from typing import Annotated

import typer

from commands.shared import (
    DONE,
    MISUSE,
    TROUBLE,
    AsJson,
    By,
    DryRun,
    Service,
    Yes,
    confirm,
    fail,
    print_json,
    with_database,
    with_service,
)
from database import Sessions
from db.receipts import Receipt, find_receipt
from db.tables import Redemption, Shop
from domain.refunds import RefundRefusal
from services.gateway import Engine
from services.refunds import Refunded, Refunding, RefundPending

REFUSALS = {
    RefundRefusal.NOT_FOUND: "there is no such redemption",
    RefundRefusal.NOT_REDEEMED: "it is pending or failed: it holds no points that could be refunded",
    RefundRefusal.ALREADY_USED: "its discount code has been used",
}


def refund(
    redemption_id: Annotated[str, typer.Argument(metavar="ID", help="The redemption, like cr_4k1t9zq0m2x7c8v5b3n6.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; kept in the activity log. No names, no addresses.")],
    by: By,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take a redemption back: remove its code at Shopify, then give its points back to the lots they came from.

    A code that was used is refused. Repeating the command changes nothing, and tells how it came out.

    Example: `pointsaga refund cr_4k1t9zq0m2x7c8v5b3n6 --reason "the order was cancelled"`
    """
    if not 0 < len(reason.strip()) <= 500:
        raise typer.BadParameter("give a reason of 1 to 500 characters", param_hint="--reason")
    receipt = with_database(lambda store: _receipt(store, redemption_id))
    if receipt is None:
        fail(f"there is no redemption {redemption_id}; nothing was done", status=MISUSE)
    if not as_json:
        typer.echo(f"{receipt.id}: {receipt.points_spent} points for {receipt.reward.name}, {receipt.status}")
    if dry_run:
        raise typer.Exit(_tell(receipt.id, None, as_json=as_json))
    confirm("Refund it?", yes=yes)
    outcome = with_service(lambda service: _refund(service, receipt.id, by=by, reason=reason.strip()))
    raise typer.Exit(_tell(receipt.id, outcome, as_json=as_json))


async def _receipt(store: Sessions, redemption_id: str) -> Receipt | None:
    async with store() as session:
        return await find_receipt(session, redemption_id)


async def _refund(
    service: Service, redemption_id: str, *, by: str, reason: str
) -> Refunded | RefundRefusal | RefundPending:
    async with service.store() as session:
        shop = await session.get_one(Shop, (await session.get_one(Redemption, redemption_id)).shop_id)
    engine = Engine(service.temporal, task_queue=service.settings.temporal_task_queue)
    refunding = Refunding(service.store, engine, patience=service.settings.purchase_deadline)
    try:
        return await refunding.refund(shop, redemption_id, actor=by, reason=reason)
    except RefundPending as pending:
        return pending


def _tell(redemption_id: str, outcome: Refunded | RefundRefusal | RefundPending | None, *, as_json: bool) -> int:
    """Say how it came out; tells the exit status."""
    match outcome:
        case None:
            result, detail, status = "planned", "its code would be removed, and its points given back", DONE
        case Refunded():
            gone = "the code is removed" if outcome.code_removed else "the code was gone already"
            result, detail, status = "refunded", f"{gone}, and the points are back", DONE
        case RefundRefusal():
            result, detail, status = "refused", REFUSALS[outcome], TROUBLE
        case RefundPending():
            waits = "Shopify" if outcome.for_shopify else "a worker"
            detail = f"it has begun and waits for {waits}; it goes on by itself, repeat the command to hear of its end"
            result, status = "pending", TROUBLE
    if as_json:
        print_json({"redemption_id": redemption_id, "result": result, "detail": detail})
    else:
        typer.echo(f"{result}: {detail}")
    return status
