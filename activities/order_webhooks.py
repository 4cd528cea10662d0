"""Handle webhooks about orders that used codes. They come in any order and more than once."""

from collections.abc import Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from clients.shopify_webhooks import Order, Refund
from db import customers, discount_codes, orders, redemptions, refunds, reissues, shops, subscriptions
from db import tables as rows
from db.activity_log import log_redemption_once
from db.tables import DiscountCode, Redemption, Reward, Shop
from domain.activity_log import ActivityKind
from domain.discounts import CodeState
from domain.errors import CodeUndecided
from domain.events import EventKind
from domain.orders import CancelledOrderPolicy
from domain.redemptions import RedemptionStatus

log = structlog.stdlib.get_logger("webhooks")


Requested = list[tuple[EventKind, str]]
"""Event and redemption id of each refund and reissue that a webhook has requested."""


async def order_created(session: AsyncSession, shop: Shop, order: Order) -> Requested:
    _, requested = await _record_order(session, shop, order)
    return requested


async def order_cancelled(session: AsyncSession, shop: Shop, order: Order) -> Requested:
    """Counts as the order too, whose own webhook may be lost."""
    used, requested = await _record_order(session, shop, order)
    for redemption in used:
        await log_redemption_once(session, redemption, ActivityKind.ORDER_CANCELLED, {"order_id": order.id})
    return requested


async def refund_created(session: AsyncSession, shop: Shop, refund: Refund) -> Requested:
    """The refund is kept until the order is known: a refund does not name the codes of its order."""
    order = await orders.record_refund(session, shop.id, refund.order_id, refund.id, refund.part(shop.currency))
    return await _reverse(session, shop, order)


async def _record_order(session: AsyncSession, shop: Shop, order: Order) -> tuple[list[Redemption], Requested]:
    """Mark the redemptions of the order's codes as used. Returns them, and what is requested. Ignores others' codes.

    Raises:
        CodeUndecided: the capture of a code is in progress.
    """
    found = await discount_codes.find_codes(session, shop.id, [one.code for one in order.discount_codes])
    if any(code.state is CodeState.PLANNED for code, _ in found):
        raise CodeUndecided("an order used a code whose redemption is pending")
    if not found:
        return [], []
    row = await orders.lock_order(session, shop.id, order.id)
    # Customers before redemptions, both in one order, as everywhere.
    for customer_id in sorted({customer_id for _, customer_id in found}):
        await customers.hold_customer(session, shop.id, customer_id)
    known = {"total": order.total_price, "lines": order.lines, "cancelled_at": order.cancelled_at}
    await orders.record_order(session, row, known, codes=[code for code, _ in found])
    used = [await _use(session, code, order, row) for code, _ in found]
    return used, await _reverse(session, shop, row)


async def _use(session: AsyncSession, code: DiscountCode, order: Order, row: rows.Order) -> Redemption:
    redemption = await redemptions.lock_redemption(session, code.shop_id, code.redemption_id)
    assert redemption is not None, "a code has its redemption"
    kind = await _kind_of_use(session, redemption, code, order, row)
    if kind is not None:
        await log_redemption_once(session, redemption, kind, {"order_id": order.id})
    if kind not in (None, ActivityKind.CODE_USED):
        log.warning(kind, redemption_id=redemption.id, attempt=code.attempt)
    return redemption


async def _kind_of_use(
    session: AsyncSession, redemption: Redemption, code: DiscountCode, order: Order, row: rows.Order
) -> ActivityKind | None:
    """How the use is logged. None: it was recorded before."""
    if not redemption.status.is_captured or redemption.attempt != code.attempt:
        return ActivityKind.UNPAID_CODE_USED
    if not code.is_current:
        # The order that the code was reissued for can be repeated, or come after its cancellation.
        return ActivityKind.CODE_USED_AFTER_REISSUE if row.voided_at is None else None
    if await redemptions.use(session, redemption.id, at=order.created_at):
        await session.refresh(redemption)
        return ActivityKind.CODE_USED
    if redemption.is_refunded:
        refund = await session.get_one(rows.Refund, redemption.id)
        return None if refund.order_id == order.id else ActivityKind.CODE_USED_AFTER_REFUND
    return None if redemption.status is RedemptionStatus.USED else ActivityKind.CODE_USED_AFTER_EXPIRY


async def _reverse(session: AsyncSession, shop: Shop, order: rows.Order) -> Requested:
    """Request what the policy says for each redemption of an order that is cancelled or fully refunded."""
    requested: Requested = []
    if order.voided_at is None:
        return requested
    for code, customer_id in await orders.codes_of(session, order):
        await customers.hold_customer(session, shop.id, customer_id)
        redemption = await redemptions.lock_redemption(session, shop.id, code.redemption_id)
        assert redemption is not None, "a code has its redemption"
        if order.cancelled_at is None:
            await log_redemption_once(session, redemption, ActivityKind.ORDER_REFUNDED, {"order_id": order.id})
        if code.is_current and await reissues.is_possible(session, redemption, order.id):
            event = await _request(session, shop, redemption, order.id)
            requested += [] if event is None else [(event, redemption.id)]
    return requested


async def _request(session: AsyncSession, shop: Shop, redemption: Redemption, order_id: str) -> EventKind | None:
    reward = await session.get_one(Reward, (shop.id, redemption.reward_id))
    has_subscriptions = await subscriptions.has_active_subscriptions(session, shop.id)
    channels: Sequence[str] = shops.channels_of(shop, has_subscriptions=has_subscriptions)
    match CancelledOrderPolicy(reward.on_order_cancelled or shop.on_order_cancelled):
        case CancelledOrderPolicy.NONE:
            return None
        case CancelledOrderPolicy.REISSUE:
            prefix = shop.code_prefix
            is_new = await reissues.request_reissue(
                session, redemption, order_id, code_prefix=prefix, channels=channels
            )
            return EventKind.REWARD_REISSUED if is_new else None
        case CancelledOrderPolicy.REFUND_POINTS:
            is_new = await refunds.request_for_order(session, redemption, order_id, channels=channels)
            return EventKind.REWARD_REFUNDED if is_new else None
