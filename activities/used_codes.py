"""What an order says of our codes: each is used, whatever becomes of the order. Shopify never frees a used code."""

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from clients.shopify_webhooks import Order
from db import customers, discount_codes, redemptions
from db.tables import DiscountCode, Redemption
from domain.errors import CodeUndecided
from domain.redemptions import CAPTURED, USED

log = structlog.stdlib.get_logger("used_codes")


async def use_codes(session: AsyncSession, shop_id: int, order: Order) -> list[Redemption]:
    """Mark what the order's codes redeem as used; tells which redemptions these are. Foreign codes are nobody's.

    Raises:
        CodeUndecided: a code is at Shopify, and its capture is under way.
    """
    found = await discount_codes.find_codes(session, shop_id, [one.code for one in order.discount_codes])
    if any(code.state == "planned" for code, _ in found):
        raise CodeUndecided("a code was used before its redemption was decided")
    # Customers before redemptions, each in one order, as everything that locks them does.
    for customer_id in sorted({customer_id for _, customer_id in found}):
        await customers.lock_customer(session, shop_id, customer_id)
    return [await _use(session, code, order) for code, _ in found]


async def _use(session: AsyncSession, code: DiscountCode, order: Order) -> Redemption:
    row = await redemptions.lock_redemption(session, code.shop_id, code.redemption_id)
    assert row is not None, "a code has its redemption"
    kind = await _what_happened(session, row, code, order)
    if kind is not None:
        await redemptions.tell_once(session, row, kind, {"order_id": order.id})
    if kind not in (None, "discount_code_used"):
        log.warning(kind, redemption_id=row.id, attempt=code.attempt)
    return row


async def _what_happened(session: AsyncSession, row: Redemption, code: DiscountCode, order: Order) -> str | None:
    """For the merchant's activity log; None when it was used already."""
    if row.status not in CAPTURED or row.attempt != code.attempt:
        return "unpaid_discount_code_used"
    if await redemptions.use(session, row.id, at=order.created_at):
        return "discount_code_used"
    if row.is_refunded:
        return "discount_code_used_after_refund"
    return None if row.status == USED else "discount_code_used_after_expiry"
