"""Reserve and release points. Each activity is one transaction, and idempotent by redemption id and attempt."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.attempt import Attempt
from database import Sessions
from db import eligibility, metafields, points, redemptions, rewards, shops, transactions
from db.customers import lock_customer
from db.tables import Customer, DiscountCode, Redemption, Reward, Shop
from domain.discounts import DiscountType, new_code
from domain.eligibility import Refusal, refusals
from domain.errors import EarlierAttemptPending, RedemptionClosed
from domain.points import EntryKind, draw_fifo
from domain.redemptions import RedemptionStatus, Standing, standing


class Points:
    """Reserves and releases points."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @activity.defn
    async def reserve_points(self, attempt: Attempt) -> Refusal | None:
        """Validate, then draw the reward's cost, oldest lot first. A refusal is a result and changes nothing.

        Raises:
            EarlierAttemptPending: an earlier attempt still holds points; to be retried.
            RedemptionClosed: this attempt was released or superseded, or its deadline has passed.
        """
        async with self._sessions.begin() as session:
            customer = await lock_customer(session, attempt.shop_id, attempt.customer_id)
            row = await redemptions.lock_redemption(session, attempt.shop_id, attempt.redemption_id)
            assert row is None or row.customer_id == attempt.customer_id, "a redemption has one customer"
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
        """Return to each lot what the attempt drew from it, and close the attempt.

        Returns False if this attempt is captured: the saga must go forward. Without a reservation it leaves a
        tombstone, so that a late reservation is rejected.

        Raises:
            EarlierAttemptPending: an earlier attempt still holds points; to be retried.
        """
        async with self._sessions.begin() as session:
            await lock_customer(session, attempt.shop_id, attempt.customer_id)
            row = await redemptions.lock_redemption(session, attempt.shop_id, attempt.redemption_id)
            match _standing(attempt, row):
                case Standing.CAPTURED:
                    # If another attempt was captured, this one has at most a code to void.
                    assert row is not None
                    return row.attempt != attempt.number
                case Standing.HELD:
                    assert row is not None
                    await _release(session, row)
                case Standing.OPEN:
                    await _write_tombstone(session, attempt, row)
                case Standing.OCCUPIED:
                    # The row cannot hold a tombstone yet, and without one a late reservation would still succeed.
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
    reward = await rewards.find_active_reward(session, attempt.shop_id, attempt.reward_id)
    member = customer and await eligibility.member_of(session, customer, now=now)
    offer = reward and await eligibility.lock_offer(session, reward)
    refusal = next(refusals(member, offer), None)
    if refusal is not None:
        return refusal

    assert reward is not None
    row = _write(session, attempt, row, reward, RedemptionStatus.PENDING, now)
    shop = await shops.get_shop(session, attempt.shop_id)
    await _plan_code(session, row, shop)
    lots = await points.lock_lots(session, attempt.shop_id, attempt.customer_id, now=now)
    draws = draw_fifo(points.as_domain(lots), reward.points_cost, now=now)
    await points.draw_points(session, row, lots, draws)
    return None


async def _plan_code(session: AsyncSession, row: Redemption, shop: Shop) -> None:
    # Stored before the first call to Shopify: the code makes that call safe to repeat.
    await session.flush()
    code = new_code(shop.code_prefix)
    session.add(DiscountCode(shop_id=shop.id, redemption_id=row.id, attempt=row.attempt, code=code))


async def _release(session: AsyncSession, row: Redemption) -> None:
    row.status = RedemptionStatus.FAILED
    shop = await shops.get_shop(session, row.shop_id)
    now = await transactions.now(session)
    await points.return_points(session, row, EntryKind.RELEASE, grace=shop.release_grace, now=now)
    # Another redemption may have written the metafield with the lower balance while this one held its points.
    await metafields.mark_stale(session, row.shop_id, row.customer_id)


async def _write_tombstone(session: AsyncSession, attempt: Attempt, row: Redemption | None) -> None:
    reward = await session.get(Reward, (attempt.shop_id, attempt.reward_id))
    customer = await session.get(Customer, (attempt.shop_id, attempt.customer_id))
    # Without reward or customer a late reservation is refused anyway.
    if reward is not None and customer is not None:
        _write(session, attempt, row, reward, RedemptionStatus.FAILED, await transactions.now(session))


def _write(
    session: AsyncSession,
    attempt: Attempt,
    row: Redemption | None,
    reward: Reward,
    status: RedemptionStatus,
    now: datetime,
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
    # Shopify stores times to the second; ours must not differ.
    return (now.astimezone(UTC) + timedelta(days=reward.expiry_days)).replace(microsecond=0)
