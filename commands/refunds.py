import typer

from commands.connections import Service, with_service, with_session
from commands.options import Actor, AsJson, DryRun, Reason, RedemptionId, Yes, check_reason
from commands.output import DONE, MISUSE, TROUBLE, confirm, fail, print_json
from db.receipts import find_receipt
from db.tables import Redemption, Shop
from domain.refunds import RefundRefusal
from services.refunds import Refunded, RefundPending, Refunds

REFUSALS = {
    RefundRefusal.NOT_FOUND: "there is no such redemption",
    RefundRefusal.NOT_REDEEMED: "the redemption is pending or failed, so there are no points to refund",
    RefundRefusal.ALREADY_USED: "the discount code has been used",
}


def refund(
    redemption_id: RedemptionId,
    *,
    reason: Reason,
    actor: Actor,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Refund a redemption: remove its code at Shopify, then return the points to their lots.

    Refused if the code has been used. Safe to repeat: prints the result of the first refund.

    Example: `pointsaga refund cr_4k1t9zq0m2x7c8v5b3n6 --reason "the order was cancelled"`
    """
    reason = check_reason(reason)
    receipt = with_session(lambda session: find_receipt(session, redemption_id))
    if receipt is None:
        fail(f"there is no redemption {redemption_id}; nothing was done", status=MISUSE)
    if not as_json:
        typer.echo(f"{receipt.id}: {receipt.points_spent} points for {receipt.reward.name}, {receipt.status}")
    if dry_run:
        raise typer.Exit(_print(receipt.id, None, as_json=as_json))
    confirm("Refund it?", yes=yes)
    outcome = with_service(lambda service: _refund(service, receipt.id, actor=actor, reason=reason))
    raise typer.Exit(_print(receipt.id, outcome, as_json=as_json))


async def _refund(
    service: Service, redemption_id: str, *, actor: str, reason: str
) -> Refunded | RefundRefusal | RefundPending:
    async with service.store() as session:
        shop = await session.get_one(Shop, (await session.get_one(Redemption, redemption_id)).shop_id)
    refunds = Refunds(service.store, service.gateway, timeout=service.settings.purchase_deadline)
    try:
        return await refunds.refund(shop, redemption_id, actor=actor, reason=reason)
    except RefundPending as pending:
        return pending


def _print(redemption_id: str, outcome: Refunded | RefundRefusal | RefundPending | None, *, as_json: bool) -> int:
    """Print the outcome, None for a dry run. Returns the exit status."""
    match outcome:
        case None:
            result, detail, status = "planned", "the code would be removed, and the points refunded", DONE
        case Refunded():
            code = "the code is removed" if outcome.code_removed else "the code no longer existed"
            detail = f"{code}, and the points are refunded"
            result, status = "refunded", DONE
            if outcome.earlier:
                detail = "it was refunded before, nothing was done; see pointsaga show"
        case RefundRefusal():
            result, detail, status = "refused", REFUSALS[outcome], TROUBLE
        case RefundPending():
            blocker = "Shopify" if outcome.for_shopify else "a worker"
            detail = f"in progress, waiting for {blocker}; it continues by itself, repeat the command for the result"
            result, status = "pending", TROUBLE
    if as_json:
        print_json({"redemption_id": redemption_id, "result": result, "detail": detail})
    else:
        typer.echo(f"{result}: {detail}")
    return status
