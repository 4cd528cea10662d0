"""Steps that move points. Each is one transaction, and idempotent by redemption and attempt."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.attempt import Attempt
from database import Sessions
from db import customers, eligibility, metafields, points, redemptions, rewards, shops, transactions
from db.tables import Customer, DiscountCode, Redemption, Reward, Shop
from domain.discounts import DiscountType, new_code
from domain.eligibility import Refusal, refusals
from domain.errors import EarlierAttemptPending, RedemptionClosed
from domain.points import draw_fifo
from domain.redemptions import FAILED, PENDING, Standing, standing


class Points:
    """Reserves points and releases them."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @activity.defn
    async def reserve_points(self, attempt: Attempt) -> Refusal | None:
        """Validate, then draw the reward's cost oldest lot first; a refusal is a result and changes nothing.

        Raises:
            EarlierAttemptPending: the row has not decided about an earlier attempt; worth waiting.
            RedemptionClosed: this attempt has been released, superseded, or is late.
        """
        async with self._sessions.begin() as session:
            customer = await customers.lock_customer(session, attempt.shop_id, attempt.customer_id)
            row = await redemptions.lock_redemption(session, attempt.shop_id, attempt.redemption_id)
            assert row is None or row.customer_id == attempt.customer_id, "a redemption is one customer's"
            match _standing(attempt, row):
                case Standing.HELD | Standing.CAPTURED:
                    return None
                case Standing.OCCUPIED:
                    raise EarlierAttemptPending("an earlier attempt still holds points")
                case Standing.CLOSED:
                    raise RedemptionClosed("this attempt was released or superseded")
                case Standing.OPEN:
                    return await _reserve(session, attempt, customer, row)

    @activity.defn
    async def release_points(self, attempt: Attempt) -> bool:
        """Give back what the attempt drew, each lot its own, and close the attempt.

        Returns False when it is too late: this attempt is captured, and the saga must go forward.
        Without a reservation it leaves a tombstone, so that a late reserve is refused.

        Raises:
            EarlierAttemptPending: the row has not decided about an earlier attempt; worth waiting.
        """
        async with self._sessions.begin() as session:
            await customers.lock_customer(session, attempt.shop_id, attempt.customer_id)
            row = await redemptions.lock_redemption(session, attempt.shop_id, attempt.redemption_id)
            match _standing(attempt, row):
                case Standing.CAPTURED:
                    # Captured by another attempt, this one has nothing but perhaps a code to void.
                    assert row is not None
                    return row.attempt != attempt.number
                case Standing.HELD:
                    assert row is not None
                    await _release(session, row)
                case Standing.OPEN:
                    await _leave_tombstone(session, attempt, row)
                case Standing.OCCUPIED:
                    # The row has no place for a tombstone yet, and without one a late reserve would still succeed.
                    raise EarlierAttemptPending("an earlier attempt still holds points")
                case Standing.CLOSED:
                    pass
            return True


def _standing(attempt: Attempt, row: Redemption | None) -> Standing:
    if row is None:
        return Standing.OPEN
    return standing(attempt.number, row_attempt=row.attempt, row_status=row.status)


async def _reserve(
    session: AsyncSession, attempt: Attempt, customer: Customer | None, row: Redemption | None
) -> Refusal | None:
    now = await transactions.now(session)
    if now >= attempt.deadline:
        raise RedemptionClosed("the deadline has passed")
    reward = await rewards.find_reward(session, attempt.shop_id, attempt.reward_id)
    member = customer and await eligibility.member_of(session, customer, now=now)
    offer = reward and await eligibility.lock_offer(session, reward)
    refusal = next(refusals(member, offer), None)
    if refusal is not None:
        return refusal

    assert reward is not None
    row = _write(session, attempt, row, reward, PENDING, now)
    shop = await shops.shop_by_id(session, attempt.shop_id)
    await _plan_code(session, row, shop)
    lots = await points.lock_lots(session, attempt.shop_id, attempt.customer_id, now=now)
    draws = draw_fifo(points.as_domain(lots), reward.points_cost, now=now)
    await points.draw_points(session, row, lots, draws)
    return None


async def _plan_code(session: AsyncSession, row: Redemption, shop: Shop) -> None:
    # Stored before Shopify is first asked: the code is what makes asking again safe.
    await session.flush()
    code = new_code(shop.code_prefix)
    session.add(DiscountCode(shop_id=shop.id, redemption_id=row.id, attempt=row.attempt, code=code))


async def _release(session: AsyncSession, row: Redemption) -> None:
    row.status = FAILED
    shop = await shops.shop_by_id(session, row.shop_id)
    await points.give_back(session, row, "release", grace=shop.release_grace, now=await transactions.now(session))
    # Another redemption may have been announced, with the lower balance, while this one held its points.
    await metafields.mark_stale(session, row.shop_id, row.customer_id)


async def _leave_tombstone(session: AsyncSession, attempt: Attempt, row: Redemption | None) -> None:
    reward = await session.get(Reward, (attempt.shop_id, attempt.reward_id))
    customer = await session.get(Customer, (attempt.shop_id, attempt.customer_id))
    # Without a reward or a customer there is nothing that a late reserve could take.
    if reward is not None and customer is not None:
        _write(session, attempt, row, reward, FAILED, await transactions.now(session))


def _write(
    session: AsyncSession, attempt: Attempt, row: Redemption | None, reward: Reward, status: str, now: datetime
) -> Redemption:
    if row is None:
        row = Redemption(id=attempt.redemption_id, shop_id=attempt.shop_id, customer_id=attempt.customer_id)
        session.add(row)
    row.reward_id = reward.id
    row.attempt = attempt.number
    row.status = status
    row.deadline = attempt.deadline
    row.reward_name = reward.name
    row.discount_type = reward.discount_type
    row.discount_amount = reward.discount_amount if DiscountType(reward.discount_type).has_amount else None
    row.minimum_spend = reward.minimum_spend
    row.product_variant_id = reward.product_variant_id
    row.combines_with = reward.combines_with
    row.points_spent = reward.points_cost
    row.expires_at = _code_expiry(reward, now)
    return row


def _code_expiry(reward: Reward, now: datetime) -> datetime | None:
    if reward.expiry_days is None:
        return None
    # Shopify keeps times to the second; ours must not differ from what it answers.
    return (now.astimezone(UTC) + timedelta(days=reward.expiry_days)).replace(microsecond=0)
