"""Queries about refunds. The refund request is stored before anything is done about it, so that none is lost."""

from collections.abc import Iterable

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from db import points, shops, transactions
from db.activity_log import log_redemption
from db.customers import hold_customer
from db.deliveries import add_deliveries, skip_unsent
from db.discount_codes import find_current_code
from db.tables import Delivery, Redemption, Refund
from domain.activity_log import ActivityKind
from domain.discounts import CodeState
from domain.events import EventKind
from domain.points import EntryKind
from domain.redemptions import RedemptionStatus
from domain.refunds import RefundRefusal, RefundStatus


async def request_refund(
    session: AsyncSession, redemption: Redemption, *, actor: str, reason: str | None, channels: Iterable[str]
) -> Refund | RefundRefusal:
    """Store a refund request, or return the one that exists, or why the redemption cannot be refunded.

    A refused refund stays refused: Shopify's count of uses can be too low, but never too high.
    """
    await hold_customer(session, redemption.shop_id, redemption.customer_id)
    # A weaker lock than FOR UPDATE: deliveries, which refer to the redemption, need not wait.
    await session.refresh(redemption, with_for_update={"key_share": True})
    refund = await session.get(Refund, redemption.id)
    is_refused = refund is not None and refund.status is RefundStatus.REFUSED
    if redemption.status is RedemptionStatus.USED or is_refused:
        return RefundRefusal.ALREADY_USED
    if not redemption.status.is_captured:
        return RefundRefusal.NOT_REDEEMED
    if refund is None:
        ids = {"redemption_id": redemption.id, "shop_id": redemption.shop_id}
        status = RefundStatus.PENDING
        refund = Refund(**ids, actor=actor, reason=reason, channels=list(channels), status=status)
        session.add(refund)
    return refund


async def request_for_order(
    session: AsyncSession, redemption: Redemption, order_id: str, *, channels: Iterable[str]
) -> bool:
    """Store a refund request for a cancelled order. False: there is one. The redemption must be locked.

    One that is pending, or was refused as the code was used, becomes the order's: its use no longer counts.
    """
    refund = await session.get(Refund, redemption.id)
    if refund is None:
        refund = Refund(redemption_id=redemption.id, shop_id=redemption.shop_id, channels=list(channels))
        refund.actor = "cancelled order"
        session.add(refund)
    elif refund.status is RefundStatus.DONE or (refund.status is RefundStatus.PENDING and refund.order_id is not None):
        return False
    refund.status, refund.order_id = RefundStatus.PENDING, order_id
    await session.flush()
    return True


async def record_code_removal(session: AsyncSession, redemption_id: str, *, removed: bool) -> None:
    """Record whether the code was found at Shopify. The first record stays, as a retry finds no code."""
    first = (Refund.redemption_id == redemption_id, Refund.code_removed.is_(None))
    await session.execute(update(Refund).where(*first).values(code_removed=removed))


async def refuse(session: AsyncSession, redemption_id: str, *, order_id: str | None) -> None:
    """`pending` → `refused`, unless it is no longer for this order, or for none, as when that was decided."""
    pending = (Refund.redemption_id == redemption_id, Refund.status == RefundStatus.PENDING)
    same = Refund.order_id.is_not_distinct_from(order_id)
    await session.execute(update(Refund).where(*pending, same).values(status=RefundStatus.REFUSED))


async def complete(session: AsyncSession, redemption: Redemption, *, contact: bytes) -> None:
    """`pending` → `done`, for a redemption just marked as refunded: return its points and void its code.

    `contact` is the customer's contact data, encrypted, that every delivery of the event uses.
    """
    now = await transactions.now(session)
    shop = await shops.get_shop(session, redemption.shop_id)
    await points.return_points(session, redemption, EntryKind.REFUND, grace=shop.release_grace, now=now)
    code = await find_current_code(session, redemption.id, redemption.attempt, locked=True)
    assert code is not None, "a captured redemption has its code"
    code.state = CodeState.VOID
    refund = await session.get_one(Refund, redemption.id)
    refund.status, refund.refunded_at, refund.contact = RefundStatus.DONE, now, contact
    # An older version has captured without it.
    redemption.currency = redemption.currency or shop.currency
    refund.balance_after = await points.balance(session, redemption.shop_id, redemption.customer_id, now=now)
    # The code no longer works, so it is not sent any more.
    with_code = Delivery.event.in_([EventKind.REWARD_REDEEMED, EventKind.REWARD_REISSUED])
    mine = Delivery.redemption_id == redemption.id
    await skip_unsent(session, mine, with_code, reason="refunded before it was sent")
    await add_deliveries(session, redemption, refund.channels, EventKind.REWARD_REFUNDED)
    facts = {
        "reward_id": redemption.reward_id,
        "reward_name": redemption.reward_name,
        "points_refunded": redemption.points_spent,
        "code_removed": refund.code_removed,
        "actor": refund.actor,
        "reason": refund.reason,
    }
    log_redemption(session, redemption, ActivityKind.REWARD_REFUNDED, facts)
