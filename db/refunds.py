"""Queries about refunds: the wish is kept before anything is done about it, so that no refund is left half-way."""

from collections.abc import Iterable

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from db import customers, deliveries, discount_codes, points, shops, transactions
from db.tables import ActivityLog, Delivery, Redemption, Refund
from domain.events import EventKind
from domain.redemptions import CAPTURED, USED
from domain.refunds import DONE, PENDING, REFUSED, RefundRefusal


async def ask(
    session: AsyncSession,
    redemption: Redemption,
    *,
    actor: str,
    reason: str | None,
    channels: Iterable[str],
) -> Refund | RefundRefusal:
    """The redemption's refund, asked for now or before; or why there can be none.

    A refund that was refused stays so: Shopify's count of uses can be too low, but never too high.
    """
    await customers.lock_customer(session, redemption.shop_id, redemption.customer_id)
    # Not so strongly that a delivery, which refers to the redemption, would have to wait.
    await session.refresh(redemption, with_for_update={"key_share": True})
    refund = await session.get(Refund, redemption.id)
    if redemption.status == USED or (refund is not None and refund.state == REFUSED):
        return RefundRefusal.ALREADY_USED
    if redemption.status not in CAPTURED:
        return RefundRefusal.NOT_REDEEMED
    if refund is None:
        whose = {"redemption_id": redemption.id, "shop_id": redemption.shop_id}
        refund = Refund(**whose, actor=actor, reason=reason, channels=list(channels), state=PENDING)
        session.add(refund)
    return refund


async def note_code(session: AsyncSession, redemption_id: str, *, removed: bool) -> None:
    """Keep whether the code was found, and is being removed. What was noted first stays: a repeat finds nothing."""
    first = (Refund.redemption_id == redemption_id, Refund.code_removed.is_(None))
    await session.execute(update(Refund).where(*first).values(code_removed=removed))


async def refuse(session: AsyncSession, redemption_id: str) -> None:
    """`pending` → `refused`: the code was used."""
    pending = (Refund.redemption_id == redemption_id, Refund.state == PENDING)
    await session.execute(update(Refund).where(*pending).values(state=REFUSED))


async def complete(session: AsyncSession, redemption: Redemption) -> None:
    """Give back the points of a redemption that was just marked refunded, and all that belongs to it."""
    now = await transactions.now(session)
    shop = await shops.shop_by_id(session, redemption.shop_id)
    await points.give_back(session, redemption, "refund", grace=shop.release_grace, now=now)
    code = await discount_codes.current_code(session, redemption.id, redemption.attempt)
    assert code is not None, "a captured redemption has its code"
    code.state = "void"
    refund = await session.get_one(Refund, redemption.id)
    refund.state, refund.refunded_at = DONE, now
    refund.balance_after = await points.balance(session, redemption.shop_id, redemption.customer_id, now=now)
    await _forget_the_code(session, redemption)
    deliveries.add_deliveries(session, redemption, refund.channels, EventKind.REWARD_REFUNDED)
    _log_refund(session, redemption, refund)


async def _forget_the_code(session: AsyncSession, redemption: Redemption) -> None:
    """Nobody is sent a code that works no more."""
    unsent = (
        Delivery.redemption_id == redemption.id,
        Delivery.event == EventKind.REWARD_REDEEMED,
        Delivery.status.in_(["pending", "failed"]),
    )
    skipped = {"status": "skipped", "last_error": "refunded before it was sent"}
    await session.execute(update(Delivery).where(*unsent).values(skipped))


def _log_refund(session: AsyncSession, redemption: Redemption, refund: Refund) -> None:
    session.add(
        ActivityLog(
            shop_id=redemption.shop_id,
            customer_id=redemption.customer_id,
            redemption_id=redemption.id,
            kind="reward_refunded",
            facts={
                "reward_id": redemption.reward_id,
                "reward_name": redemption.reward_name,
                "points_refunded": redemption.points_spent,
                "code_removed": refund.code_removed,
                "actor": refund.actor,
                "reason": refund.reason,
            },
        )
    )
