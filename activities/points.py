"""Reserve and release points. Each activity is one transaction, and idempotent by redemption id and attempt."""

from dataclasses import replace
from datetime import datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

import metrics
from activities.attempt import Attempt
from database import Sessions
from db import (
    deliveries,
    discount_codes,
    metafields,
    points,
    redemptions,
    reservations,
    shops,
    subscriptions,
    transactions,
)
from db.customers import hold_contact, hold_customer
from db.reservations import PurchasedReward, Reservation, Reserving
from db.tables import Customer, FailedAttempt, Redemption, Reward
from db.vault import Vault
from domain.channels import Channel
from domain.discounts import new_code
from domain.eligibility import Refusal, refusals
from domain.errors import EarlierAttemptPending, RedemptionClosed
from domain.events import EventKind
from domain.points import EntryKind, draw_fifo
from domain.redemptions import RedemptionStatus, Standing, standing
from domain.shopify_budget import CALL_TIME, NoTurn, Turn


class Points:
    """Reserves and releases points."""

    def __init__(self, sessions: Sessions, vault: Vault) -> None:
        self._sessions = sessions
        self._vault = vault

    @activity.defn
    async def reserve_points(self, attempt: Attempt) -> Refusal | NoTurn | Turn | None:
        """Validate, then draw the purchase's cost, oldest lot first. Takes a turn in the shop's Shopify budget, too.

        A refusal, and no turn before the deadline, are results and change nothing. A queued purchase returns its turn.

        Raises:
            EarlierAttemptPending: an earlier attempt still holds points; to be retried.
            RedemptionClosed: this attempt was released or superseded, or its deadline has passed.
        """
        async with self._sessions.begin() as session:
            reservation = await reservations.lock_and_read(
                session,
                shop_id=attempt.shop_id,
                customer_id=attempt.customer_id,
                reward_id=attempt.reward_id,
                redemption_id=attempt.redemption_id,
                points_to_spend=attempt.points_to_spend,
            )
            match standing(attempt.number, row_attempt=reservation.attempt, row_status=reservation.status):
                case Standing.HELD if attempt.is_queued:
                    code = await discount_codes.find_current_code(session, attempt.redemption_id, attempt.number)
                    return _turn(code and code.not_before, reservation.now)
                case Standing.HELD | Standing.CAPTURED:
                    return None
                case Standing.OCCUPIED:
                    raise EarlierAttemptPending("an earlier attempt still holds points")
                case Standing.CLOSED:
                    raise RedemptionClosed("this attempt was released or superseded")
                case Standing.OPEN:
                    return await _reserve(session, attempt.of(reservation.customer_id), reservation)

    @activity.defn
    async def release_points(self, attempt: Attempt) -> bool:
        """Return to each lot what the attempt drew from it, and close the attempt.

        Returns False if this attempt is captured: the saga must go forward. Without a reservation it leaves a
        tombstone, so that a late reservation is rejected.

        Raises:
            EarlierAttemptPending: an earlier attempt still holds points; to be retried.
        """
        async with self._sessions.begin() as session:
            held = await hold_customer(session, attempt.shop_id, attempt.customer_id)
            attempt = attempt.of(held or attempt.customer_id)
            row = await redemptions.lock_redemption(session, attempt.shop_id, attempt.redemption_id)
            status, number = (row.status, row.attempt) if row else (None, None)
            match standing(attempt.number, row_attempt=number, row_status=status):
                case Standing.CAPTURED:
                    # If another attempt was captured, this one has at most a code to void.
                    return number != attempt.number
                case Standing.HELD:
                    assert row is not None
                    await _release(session, row, attempt)
                    if row.is_queued:
                        await self._add_event(session, row)
                case Standing.OPEN:
                    await _write_tombstone(session, attempt)
                case Standing.OCCUPIED:
                    # The row cannot hold a tombstone yet, and without one a late reservation would still succeed.
                    raise EarlierAttemptPending("an earlier attempt still holds points")
                case Standing.CLOSED:
                    pass
            return True

    async def _add_event(self, session: AsyncSession, row: Redemption) -> None:
        """Add the delivery of the failure to webhook subscribers. No caller waits for the answer."""
        if await subscriptions.has_active_subscriptions(session, row.shop_id):
            _, contact = await hold_contact(session, row.shop_id, row.customer_id)
            row.contact = self._vault.seal_contact(contact)
            await session.flush()
            now = await transactions.now(session)
            row.balance_after = await points.balance(session, row.shop_id, row.customer_id, now=now)
            await deliveries.add_deliveries(session, row, [Channel.WEBHOOKS], EventKind.PURCHASE_FAILED)


async def _reserve(session: AsyncSession, attempt: Attempt, reservation: Reservation) -> Refusal | NoTurn | Turn | None:
    if reservation.now >= (attempt.reserve_by or attempt.deadline):
        raise RedemptionClosed("the deadline has passed")
    offer, points_to_spend = reservation.offer, attempt.points_to_spend
    refusal = next(refusals(reservation.member, offer, points_to_spend=points_to_spend), None)
    if refusal is not None:
        return refusal

    reward = reservation.reward
    assert reward is not None
    assert offer is not None
    if offer.ladder is not None and points_to_spend is not None:
        reward = reward.spending(points_to_spend, offer.ladder)
    draws = draw_fifo(reservation.lots, reward.points_cost, now=reservation.now)
    reserving = _reserving(attempt, reward, reservation.now)
    # The code is stored before the first call to Shopify: it makes that call safe to repeat.
    turn = await reservations.reserve(session, reserving, draws, code=new_code(reservation.code_prefix))
    if turn is None or turn <= attempt.deadline - CALL_TIME:
        transactions.at_commit(session, partial(metrics.POINTS.labels("reserved").inc, reward.points_cost))
        return _turn(turn, reservation.now) if attempt.is_queued else None
    await session.rollback()
    return NoTurn(wait=turn - reservation.now)


def _turn(not_before: datetime | None, now: datetime) -> Turn:
    return Turn(at=not_before or now)


async def _release(session: AsyncSession, row: Redemption, attempt: Attempt) -> None:
    row.status = RedemptionStatus.FAILED
    shop = await shops.get_shop(session, row.shop_id)
    now = await transactions.now(session)
    await points.return_points(session, row, EntryKind.RELEASE, grace=shop.release_grace, now=now)
    transactions.at_commit(session, partial(metrics.POINTS.labels("released").inc, row.points_spent))
    _record_failure(session, attempt)
    # Another redemption may have written the metafield with the lower balance while this one held its points.
    await metafields.mark_stale(session, row.shop_id, row.customer_id)


async def _write_tombstone(session: AsyncSession, attempt: Attempt) -> None:
    row = await session.get(Reward, (attempt.shop_id, attempt.reward_id))
    customer = await session.get(Customer, (attempt.shop_id, attempt.customer_id))
    # Without reward or customer a late reservation is refused anyway.
    if row is not None and customer is not None:
        reward = replace(PurchasedReward.of(row), points_cost=attempt.points_to_spend or row.points_cost)
        await reservations.write_failed(session, _reserving(attempt, reward, await transactions.now(session)))
        _record_failure(session, attempt)


def _record_failure(session: AsyncSession, attempt: Attempt) -> None:
    # A workflow of an earlier release gives no reason.
    if attempt.failure is not None:
        session.add(
            FailedAttempt(
                shop_id=attempt.shop_id,
                redemption_id=attempt.redemption_id,
                attempt=attempt.number,
                code=attempt.failure.code,
                reason=attempt.failure.reason,
            )
        )


def _reserving(attempt: Attempt, reward: PurchasedReward, now: datetime) -> Reserving:
    return Reserving(
        shop_id=attempt.shop_id,
        customer_id=attempt.customer_id,
        redemption_id=attempt.redemption_id,
        attempt=attempt.number,
        deadline=attempt.deadline,
        is_queued=attempt.is_queued,
        reward=reward,
        now=now,
    )
