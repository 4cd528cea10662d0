"""The reservation of points: a lock, one statement that reads what it depends on, and one that writes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from sqlalchemy import ARRAY, BigInteger, Float, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from db.customers import hold_customer
from db.rewards import ladder_of, limits_of, offered_sql
from db.shopify_budgets import TAKE
from db.statements import statement
from db.tables import Reward
from domain.discounts import DiscountType
from domain.eligibility import Member, Offer
from domain.ladder import Ladder
from domain.points import Draw, Lot
from domain.redemptions import RedemptionStatus
from domain.shopify_budget import CREATION_COST


@dataclass(frozen=True, kw_only=True)
class PurchasedReward:
    """The reward's values that a redemption keeps."""

    reward_id: str
    reward_name: str
    discount_type: str
    discount_amount: Decimal | None
    minimum_spend: Decimal | None
    product_variant_id: str | None
    combines_with: list[str]
    applies_to: dict[str, list[str]] | None
    purchase_type: str | None
    billing_cycles: int | None
    points_cost: int
    expiry_days: int | None

    @classmethod
    def of(cls, reward: Reward) -> Self:
        """The values of a reward's row."""
        return cls(
            reward_id=reward.id,
            reward_name=reward.name,
            discount_type=reward.discount_type,
            discount_amount=reward.discount_amount,
            minimum_spend=reward.minimum_spend,
            product_variant_id=reward.product_variant_id,
            combines_with=reward.combines_with,
            applies_to=reward.applies_to,
            purchase_type=reward.purchase_type,
            billing_cycles=reward.billing_cycles,
            points_cost=reward.points_cost,
            expiry_days=reward.expiry_days,
        )

    def spending(self, points: int, ladder: Ladder) -> Self:
        """The reward as it is bought for this many points of the ladder: its price, and the value of the code."""
        return replace(self, points_cost=points, discount_amount=ladder.value_of(points))

    def code_expiry(self, now: datetime) -> datetime | None:
        """When a code that is generated now expires. Shopify stores times to the second; ours must not differ."""
        if self.expiry_days is None:
            return None
        return (now.astimezone(UTC) + timedelta(days=self.expiry_days)).replace(microsecond=0)


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """What a reservation depends on, read with the customer locked.

    Attributes:
        customer_id: the customer, or the surviving one if they were merged.
        attempt, status: of the redemption's row. None: there is none.
        member, offer, reward: None if there is no such customer, or no such active reward.
        reward: with variable pricing, costs one step.
        lots: the spendable lots that cover the cost, oldest first; all of them if they do not.
    """

    customer_id: str
    now: datetime
    code_prefix: str
    attempt: int | None
    status: RedemptionStatus | None
    member: Member | None
    offer: Offer | None
    reward: PurchasedReward | None
    lots: list[Lot]


# Of many lots only those are returned that the cost is drawn from: the sum before each lot is less than the cost.
_READ = statement(
    f"""
    WITH at AS MATERIALIZED (SELECT clock_timestamp() AS now), lots AS (
        SELECT l.id, l.remaining, l.earned_at, l.expires_at,
               sum(l.remaining) OVER (ORDER BY l.earned_at, l.id) - l.remaining AS before
        FROM point_lots l, at
        WHERE l.shop_id = :shop_id AND l.customer_id = :customer_id AND l.remaining > 0
          AND (l.expires_at IS NULL OR l.expires_at > at.now)
    )
    SELECT at.now, s.code_prefix, r.attempt, r.status, r.customer_id,
           c.excluded, c.vip_tier_id AS member_tier_id,
           w.id AS reward_id, w.name AS reward_name, w.discount_type, w.discount_amount, w.minimum_spend,
           w.product_variant_id, w.combines_with, w.applies_to, w.purchase_type, w.billing_cycles, w.points_cost,
           w.points_step, w.value_per_step, w.min_points, w.max_points, w.max_value, w.expiry_days,
           w.max_redemptions, w.cooldown_days, w.max_per_customer, w.vip_tier_id, t.name AS tier_name,
           CASE WHEN w.max_redemptions IS NOT NULL THEN (
               SELECT count(*) FROM redemptions o
               WHERE o.shop_id = :shop_id AND o.reward_id = w.id AND o.status = ANY(:capped) AND NOT o.is_refunded
           ) END AS redemptions,
           CASE WHEN coalesce(w.cooldown_days, w.max_per_customer) IS NOT NULL THEN (
               SELECT json_build_array(count(*), max(coalesce(o.captured_at, o.updated_at))) FROM redemptions o
               WHERE o.shop_id = :shop_id AND o.customer_id = :customer_id AND o.reward_id = w.id
                 AND o.status = ANY(:capped) AND NOT o.is_refunded
           ) END AS of_customer,
           (SELECT coalesce(sum(remaining), 0) FROM lots) AS balance,
           (SELECT json_agg(json_build_array(id, remaining, earned_at, expires_at) ORDER BY earned_at, id)
            FROM lots WHERE before < coalesce(:points_to_spend, w.points_cost)) AS lots
    FROM at JOIN shops s ON s.id = :shop_id
    LEFT JOIN customers c ON c.shop_id = s.id AND c.id = :customer_id
    LEFT JOIN rewards w ON w.shop_id = s.id AND w.id = :reward_id AND {offered_sql("w", "at.now")}
    LEFT JOIN vip_tiers t ON t.shop_id = s.id AND t.id = w.vip_tier_id
    LEFT JOIN redemptions r ON r.shop_id = s.id AND r.id = :redemption_id
    """,
    points_to_spend=BigInteger,
).columns(lots=JSONB, combines_with=JSONB, applies_to=JSONB, of_customer=JSONB)
_LOCK_REWARD = text("SELECT FROM rewards WHERE shop_id = :shop_id AND id = :reward_id FOR UPDATE")


async def lock_and_read(
    session: AsyncSession,
    *,
    shop_id: int,
    customer_id: str,
    reward_id: str,
    redemption_id: str,
    points_to_spend: int | None,
) -> Reservation:
    """Lock the customer, and the reward if it has a cap, then read what the reservation depends on.

    The read is a statement of its own: one that waits for a lock reads the other rows as they were before. The
    customer's lock also guards the limits per customer.
    """
    held = await hold_customer(session, shop_id, customer_id)
    customer_id = held or customer_id
    ids = {"shop_id": shop_id, "customer_id": customer_id, "reward_id": reward_id, "redemption_id": redemption_id}
    values = {**ids, "points_to_spend": points_to_spend}
    row = (await session.execute(_READ, values)).one()
    if row.max_redemptions is not None:
        await session.execute(_LOCK_REWARD, ids)
        row = (await session.execute(_READ, values)).one()
    assert row.customer_id in (None, customer_id), "a redemption has one customer"
    return _reservation(row, customer_id, is_held=held is not None)


def _reservation(row: Any, customer_id: str, *, is_held: bool) -> Reservation:
    member = offer = reward = None
    if is_held:
        member = Member(excluded=row.excluded, vip_tier_id=row.member_tier_id, points=int(row.balance))
    if row.reward_id is not None:
        redemptions, last_at = row.of_customer or (0, None)
        offer = Offer(
            points_cost=row.points_cost,
            ladder=ladder_of(row),
            vip_tier_id=row.vip_tier_id,
            vip_tier=row.tier_name,
            max_redemptions=row.max_redemptions,
            redemptions=row.redemptions or 0,
            limits=limits_of(
                row, redemptions=redemptions, last_at=last_at and datetime.fromisoformat(last_at), now=row.now
            ),
        )
        reward = PurchasedReward(**{name: getattr(row, name) for name in PurchasedReward.__dataclass_fields__})
    return Reservation(
        customer_id=customer_id,
        now=row.now,
        code_prefix=row.code_prefix,
        attempt=row.attempt,
        status=row.status and RedemptionStatus(row.status),
        member=member,
        offer=offer,
        reward=reward,
        lots=[_lot(*lot) for lot in row.lots or ()],
    )


def _lot(lot_id: int, remaining: int, earned_at: str, expires_at: str | None) -> Lot:
    return Lot(
        id=lot_id,
        remaining=remaining,
        earned_at=datetime.fromisoformat(earned_at),
        expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
    )


_REDEMPTION = """INSERT INTO redemptions AS r (
        id, shop_id, customer_id, reward_id, attempt, status, deadline, reward_name, discount_type, discount_amount,
        minimum_spend, product_variant_id, combines_with, applies_to, purchase_type, billing_cycles, points_spent,
        expires_at, is_queued
    ) VALUES (
        :redemption_id, :shop_id, :customer_id, :reward_id, :attempt, :status, :deadline, :reward_name, :discount_type,
        :discount_amount, :minimum_spend, :product_variant_id, :combines_with, :applies_to, :purchase_type,
        :billing_cycles, :points_cost, :expires_at, :is_queued
    )
    ON CONFLICT (id) DO UPDATE SET
        attempt = EXCLUDED.attempt, status = EXCLUDED.status, deadline = EXCLUDED.deadline,
        reward_name = EXCLUDED.reward_name, discount_type = EXCLUDED.discount_type,
        discount_amount = EXCLUDED.discount_amount, minimum_spend = EXCLUDED.minimum_spend,
        product_variant_id = EXCLUDED.product_variant_id, combines_with = EXCLUDED.combines_with,
        applies_to = EXCLUDED.applies_to, purchase_type = EXCLUDED.purchase_type,
        billing_cycles = EXCLUDED.billing_cycles,
        points_spent = EXCLUDED.points_spent, expires_at = EXCLUDED.expires_at, is_queued = EXCLUDED.is_queued,
        updated_at = now()"""
"""Writes the redemption's row for an attempt. An earlier attempt must have failed."""

_TYPES = {"combines_with": JSONB, "applies_to": JSONB(none_as_null=True)}
_WRITE_FAILED = statement(_REDEMPTION, **_TYPES)


@dataclass(frozen=True, kw_only=True)
class Reserving:
    """The attempt that a redemption's row is written for."""

    shop_id: int
    customer_id: str
    redemption_id: str
    attempt: int
    deadline: datetime
    is_queued: bool
    reward: PurchasedReward
    now: datetime

    def values(self, status: RedemptionStatus) -> dict[str, Any]:
        """The parameters of `_REDEMPTION`."""
        has_amount = DiscountType(self.reward.discount_type).has_amount
        return {
            **asdict(self.reward),
            "discount_amount": self.reward.discount_amount if has_amount else None,
            "shop_id": self.shop_id,
            "customer_id": self.customer_id,
            "redemption_id": self.redemption_id,
            "attempt": self.attempt,
            "status": status,
            "deadline": self.deadline,
            "is_queued": self.is_queued,
            "expires_at": self.reward.code_expiry(self.now),
        }


async def write_failed(session: AsyncSession, reserving: Reserving) -> None:
    """Write the row of an attempt that has failed before it reserved points."""
    await session.execute(_WRITE_FAILED, reserving.values(RedemptionStatus.FAILED))


# The turn is calculated as `ShopifyBudget.wait_for` and `take` do, but with the row as it is once it is locked.
_RESERVE = statement(
    f"""
    WITH redemption AS ({_REDEMPTION}), budget AS (
        {TAKE}
        RETURNING full_at - make_interval(secs => greatest(maximum, :shopify_cost) / restore_rate) AS turn
    ), code AS (
        INSERT INTO discount_codes (shop_id, redemption_id, attempt, code, not_before)
        VALUES (:shop_id, :redemption_id, :attempt, :code, (SELECT turn FROM budget))
        RETURNING not_before
    ), draws AS (
        INSERT INTO redemption_draws (redemption_id, attempt, lot_id, points)
        SELECT :redemption_id, :attempt, drawn.* FROM unnest(:lot_ids, :points) AS drawn
        RETURNING lot_id, points
    ), lots AS (
        UPDATE point_lots l SET remaining = l.remaining - draws.points FROM draws WHERE l.id = draws.lot_id
    ), entries AS (
        INSERT INTO ledger_entries (shop_id, customer_id, lot_id, points, kind, redemption_id, attempt)
        SELECT :shop_id, :customer_id, lot_id, -points, :reserve, :redemption_id, :attempt FROM draws
    )
    SELECT not_before FROM code
    """,
    **_TYPES,
    lot_ids=ARRAY(BigInteger),
    points=ARRAY(Integer),
    shopify_cost=Float,
)


async def reserve(session: AsyncSession, reserving: Reserving, draws: Sequence[Draw], *, code: str) -> datetime | None:
    """Write the redemption, its planned code, its draws, the lots and the ledger entries. The customer must be locked.

    Takes the code's cost from the shop's Shopify budget, and returns the attempt's turn. None: there is no limit. The
    budget stays locked until the transaction ends, so nothing else may follow in it.
    """
    values = {
        **reserving.values(RedemptionStatus.PENDING),
        "code": code,
        "lot_ids": [draw.lot_id for draw in draws],
        "points": [draw.points for draw in draws],
        "shopify_cost": CREATION_COST,
    }
    return (await session.execute(_RESERVE, values)).scalar_one()
