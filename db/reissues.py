"""Queries about reissues. A reissue is stored before anything is done about it, so that none is lost."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db import discount_codes, orders, points, shops, transactions
from db.activity_log import log_redemption
from db.deliveries import add_deliveries, skip_unsent
from db.tables import (
    Customer,
    Delivery,
    DiscountCode,
    Redemption,
    Refund,
    Reissue,
    WebhookDelivery,
)
from domain.activity_log import ActivityKind
from domain.discounts import CodeState, new_code
from domain.events import EventKind
from domain.redemptions import RedemptionStatus
from domain.refunds import RefundStatus
from domain.reissues import ReissueStatus, reissued_expiry


async def request_reissue(
    session: AsyncSession, redemption: Redemption, order_id: str, *, code_prefix: str, channels: Iterable[str]
) -> bool:
    """Store a reissue with the code it will use. False: it was requested before. The redemption must be locked."""
    if await find_reissue(session, redemption.id, order_id) is not None:
        return False
    code = DiscountCode(
        shop_id=redemption.shop_id,
        redemption_id=redemption.id,
        attempt=redemption.attempt,
        code=new_code(code_prefix),
        is_current=False,
    )
    session.add(code)
    await session.flush()
    number = select(func.count()).select_from(Reissue).where(Reissue.redemption_id == redemption.id)
    reissue = Reissue(
        redemption_id=redemption.id,
        order_id=order_id,
        shop_id=redemption.shop_id,
        number=(await session.execute(number)).scalar_one() + 1,
        code_id=code.id,
        channels=list(channels),
        expires_at=reissued_expiry(redemption.expires_at, now=await transactions.now(session)),
    )
    session.add(reissue)
    await session.flush()
    return True


async def find_reissue(
    session: AsyncSession, redemption_id: str, order_id: str, *, locked: bool = False
) -> Reissue | None:
    """The reissue after this order, locked on request until the transaction ends."""
    return await session.get(Reissue, (redemption_id, order_id), with_for_update=locked or None)


async def is_possible(session: AsyncSession, redemption: Redemption, order_id: str) -> bool:
    """Whether the code of the locked redemption was used by this order, and by no other that stands."""
    if redemption.status is not RedemptionStatus.USED or redemption.is_refunded:
        return False
    customer = await session.get_one(Customer, (redemption.shop_id, redemption.customer_id))
    code = await discount_codes.find_current_code(session, redemption.id, redemption.attempt)
    if customer.erased_at is not None or code is None:
        return False
    return not await orders.has_other_order(session, code, order_id)


async def refuse(session: AsyncSession, redemption: Redemption, reissue: Reissue) -> None:
    """`pending` → `refused`."""
    reissue.status = ReissueStatus.REFUSED
    log_redemption(session, redemption, ActivityKind.REISSUE_REFUSED, {"order_id": reissue.order_id})


async def complete(
    session: AsyncSession, redemption: Redemption, reissue: Reissue, *, shopify_id: str, contact: bytes
) -> None:
    """`pending` → `done`, and `used` → `active` with the new code. Customer, redemption and reissue must be locked.

    `contact` is the customer's contact data, encrypted, that every delivery of the event uses.
    """
    now = await transactions.now(session)
    await _replace_code(session, redemption, reissue, shopify_id)
    redemption.status, redemption.discount_code_redeemed_at = RedemptionStatus.ACTIVE, None
    redemption.expires_at = reissue.expires_at
    shop = await shops.get_shop(session, redemption.shop_id)
    redemption.currency = redemption.currency or shop.currency
    reissue.status, reissue.reissued_at, reissue.contact = ReissueStatus.DONE, now, contact
    reissue.balance_after = await points.balance(session, redemption.shop_id, redemption.customer_id, now=now)
    # A refund that was refused, was refused for the code that was replaced.
    refused = (Refund.redemption_id == redemption.id, Refund.status == RefundStatus.REFUSED)
    await session.execute(delete(Refund).where(*refused))
    await _deliver(session, redemption, reissue)
    log_redemption(session, redemption, ActivityKind.REWARD_REISSUED, _facts(redemption, reissue))


async def _replace_code(session: AsyncSession, redemption: Redemption, reissue: Reissue, shopify_id: str) -> None:
    old = await discount_codes.find_current_code(session, redemption.id, redemption.attempt, locked=True)
    assert old is not None, "a captured redemption has its code"
    old.state, old.is_current = CodeState.VOID, False
    await session.flush()
    new = await discount_codes.lock_code(session, reissue.code_id)
    new.state, new.is_current, new.shopify_id = CodeState.LIVE, True, shopify_id
    await session.flush()


async def _deliver(session: AsyncSession, redemption: Redemption, reissue: Reissue) -> None:
    """Add the deliveries. Those of earlier events would announce a code that no longer works."""
    mine = Delivery.redemption_id == redemption.id
    redeemed = (mine, Delivery.event == EventKind.REWARD_REDEEMED)
    await skip_unsent(session, *redeemed, reason="the code was reissued before it was sent")
    event = EventKind.REWARD_REISSUED
    earlier = (WebhookDelivery.redemption_id == redemption.id, WebhookDelivery.event == event)
    await session.execute(delete(WebhookDelivery).where(*earlier))
    await session.execute(delete(Delivery).where(mine, Delivery.event == event))
    await add_deliveries(session, redemption, reissue.channels, event)


def _facts(redemption: Redemption, reissue: Reissue) -> dict[str, str | int | None]:
    expires_at: datetime | None = reissue.expires_at
    return {
        "reward_id": redemption.reward_id,
        "reward_name": redemption.reward_name,
        "order_id": reissue.order_id,
        "expires_at": None if expires_at is None else expires_at.isoformat(),
        "actor": "cancelled order",
    }
