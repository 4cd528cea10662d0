"""Queries about orders that used codes. Their webhooks come in any order, so each adds what it knows."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db import transactions
from db.pruning import delete_batch
from db.tables import DiscountCode, Order, OrderCode, Redemption
from domain.orders import RefundedPart, is_fully_refunded


async def lock_order(session: AsyncSession, shop_id: int, order_id: str) -> Order:
    """The order, added if it is new, and locked. Before customers and redemptions."""
    await session.execute(insert(Order).values(shop_id=shop_id, id=order_id).on_conflict_do_nothing())
    return await session.get_one(Order, (shop_id, order_id), with_for_update=True)


async def record_order(
    session: AsyncSession, order: Order, known: Mapping[str, object], *, codes: Iterable[DiscountCode]
) -> None:
    """Add what the webhook of a locked order says, and the codes that it used. Their customers must be locked."""
    for column, value in known.items():
        if value is not None and getattr(order, column) is None:
            setattr(order, column, value)
    ids = {"shop_id": order.shop_id, "order_id": order.id}
    used = [{**ids, "code_id": code.id, "redemption_id": code.redemption_id} for code in codes]
    await session.execute(insert(OrderCode).values(used).on_conflict_do_nothing())
    await _record_end(session, order)


async def record_refund(
    session: AsyncSession, shop_id: int, order_id: str, refund_id: str, part: RefundedPart
) -> Order:
    """Add a refund of an order, which is locked."""
    order = await lock_order(session, shop_id, order_id)
    order.refunds = {**order.refunds, refund_id: {"amount": str(part.amount), "lines": dict(part.lines)}}
    await _record_end(session, order)
    return order


async def _record_end(session: AsyncSession, order: Order) -> None:
    refunds = (RefundedPart(amount=Decimal(one["amount"]), lines=one["lines"]) for one in order.refunds.values())
    is_void = order.cancelled_at is not None or is_fully_refunded(order.total, order.lines, refunds)
    if is_void and order.voided_at is None:
        order.voided_at = await transactions.now(session)
    await session.flush()


async def codes_of(session: AsyncSession, order: Order) -> Sequence[Row[DiscountCode, str]]:
    """The codes that the order used, each with its customer's id. By customer and redemption, as rows are locked."""
    query = (
        select(DiscountCode, Redemption.customer_id)
        .join(OrderCode, OrderCode.code_id == DiscountCode.id)
        .join(Redemption, Redemption.id == DiscountCode.redemption_id)
        .where(OrderCode.shop_id == order.shop_id, OrderCode.order_id == order.id)
    )
    return (await session.execute(query.order_by(Redemption.customer_id, Redemption.id))).all()


async def has_other_order(session: AsyncSession, code: DiscountCode, order_id: str) -> bool:
    """Whether another order used the code, and is neither cancelled nor fully refunded."""
    of_code = (OrderCode.shop_id == code.shop_id, OrderCode.code_id == code.id, OrderCode.order_id != order_id)
    same: Any = (Order.shop_id == OrderCode.shop_id) & (Order.id == OrderCode.order_id)
    query = select(OrderCode.order_id).join(Order, same).where(*of_code, Order.voided_at.is_(None))
    return (await session.execute(query.limit(1))).first() is not None


async def prune_orders(session: AsyncSession, *, kept_for: timedelta, limit: int) -> int:
    """Delete up to `limit` orders that used no code, as far as is known, and are this old; returns how many."""
    has_code = select(OrderCode.code_id).where(OrderCode.shop_id == Order.shop_id, OrderCode.order_id == Order.id)
    old = Order.updated_at < func.now() - kept_for
    return await delete_batch(session, Order, old, ~has_code.exists(), limit=limit)
