"""The statements of a purchase. Each reads or writes everything that one step needs, to save round trips."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from sqlalchemy import ARRAY, BigInteger, Integer, String, TextClause, TextualSelect, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from db.customers import hold_customer
from db.tables import Reward
from domain.discounts import CodeState, DiscountType
from domain.eligibility import Member, Offer
from domain.points import Draw, EntryKind, Lot
from domain.redemptions import CAPTURED, RedemptionStatus

_STATES: dict[str, object] = {
    "pending": RedemptionStatus.PENDING,
    "active": RedemptionStatus.ACTIVE,
    "captured": sorted(CAPTURED),
    "counted": sorted({RedemptionStatus.PENDING, *CAPTURED}),
    "planned": CodeState.PLANNED,
    "foreign": CodeState.FOREIGN,
    "live": CodeState.LIVE,
    "reserve": EntryKind.RESERVE,
}


def _statement(sql: str, **types: Any) -> TextClause:
    """A statement with the states that it names bound."""
    states = [
        bindparam(name, value, type_=ARRAY(String) if isinstance(value, list) else String)
        for name, value in _STATES.items()
        if f":{name}" in sql
    ]
    return text(sql).bindparams(*states, *(bindparam(name, type_=kind) for name, kind in types.items()))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An idempotency key, with what its purchase needs.

    Attributes:
        customer_id: the customer as resolved by the first request. None: customer or reward did not exist.
        excluded: of the customer with this identifier. None: there is none.
        reward_name, points_cost: of the active reward. None: there is none.
        is_captured: whether the key's redemption is captured.
        has_subscriptions: whether the shop has a webhook subscription that is not paused.
    """

    fingerprint: bytes
    redemption_id: str
    attempt: int
    customer_id: str | None
    status: int | None
    body: str | None
    excluded: bool | None
    reward_name: str | None
    points_cost: int | None
    is_captured: bool
    has_subscriptions: bool
    now: datetime


# The key of a concurrent request can be missing in the result: its row is committed after this statement's snapshot.
_CLAIM = _statement("""
    WITH buyer AS (
        SELECT id, excluded FROM customers WHERE shop_id = :shop_id AND id = :identifier
        UNION ALL
        SELECT id, excluded FROM customers WHERE shop_id = :shop_id AND lower(email) = :email
    ), offer AS (
        SELECT name, points_cost FROM rewards
        WHERE shop_id = :shop_id AND id = :reward_id AND is_active AND deleted_at IS NULL
    ), claimed AS (
        INSERT INTO idempotency_keys (shop_id, key, fingerprint, redemption_id, customer_id)
        VALUES (:shop_id, :key, :fingerprint, :redemption_id, (SELECT buyer.id FROM buyer, offer))
        -- A key without customer and answer was left by a request that did not end.
        ON CONFLICT (shop_id, key) DO UPDATE SET customer_id = EXCLUDED.customer_id
        WHERE idempotency_keys.customer_id IS NULL AND idempotency_keys.status IS NULL
          AND idempotency_keys.fingerprint = EXCLUDED.fingerprint
        RETURNING fingerprint, redemption_id, attempt, customer_id, status, body
    ), known AS (
        SELECT * FROM claimed
        UNION ALL
        SELECT fingerprint, redemption_id, attempt, customer_id, status, body FROM idempotency_keys
        WHERE shop_id = :shop_id AND key = :key AND NOT EXISTS (SELECT FROM claimed)
    )
    SELECT known.*, buyer.excluded, offer.name AS reward_name, offer.points_cost,
           coalesce(r.status = ANY(:captured), false) AS is_captured, clock_timestamp() AS now,
           EXISTS (SELECT FROM webhook_subscriptions w WHERE w.shop_id = :shop_id AND w.is_active) AS has_subscriptions
    FROM known LEFT JOIN buyer ON true LEFT JOIN offer ON true LEFT JOIN redemptions r ON r.id = known.redemption_id
""")


async def claim_purchase(
    session: AsyncSession,
    shop_id: int,
    *,
    key: str,
    fingerprint: bytes,
    redemption_id: str,
    customer_identifier: str,
    reward_id: str,
) -> Claim:
    """Claim the key, or read it if it exists. A new key gets the fingerprint, the id and the customer."""
    is_email = "@" in customer_identifier
    values = {
        "shop_id": shop_id,
        "key": key,
        "fingerprint": fingerprint,
        "redemption_id": redemption_id,
        "identifier": None if is_email else customer_identifier,
        "email": customer_identifier.lower() if is_email else None,
        "reward_id": reward_id,
    }
    row = (await session.execute(_CLAIM, values)).mappings().one_or_none()
    if row is None:
        row = (await session.execute(_CLAIM, values)).mappings().one()
    return Claim(**row)


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
            points_cost=reward.points_cost,
            expiry_days=reward.expiry_days,
        )

    def code_expiry(self, now: datetime) -> datetime | None:
        """When a code that is generated now expires. Shopify stores times to the second; ours must not differ."""
        if self.expiry_days is None:
            return None
        return (now.astimezone(UTC) + timedelta(days=self.expiry_days)).replace(microsecond=0)


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """What a reservation depends on, read with the customer locked.

    Attributes:
        attempt, status: of the redemption's row. None: there is none.
        member, offer, reward: None if there is no such customer, or no such active reward.
        lots: the spendable lots that cover the cost, oldest first; all of them if they do not.
    """

    now: datetime
    code_prefix: str
    attempt: int | None
    status: RedemptionStatus | None
    member: Member | None
    offer: Offer | None
    reward: PurchasedReward | None
    lots: list[Lot]


# Of many lots only those are returned that the cost is drawn from: the sum before each lot is less than the cost.
_READ = _statement("""
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
           w.product_variant_id, w.combines_with, w.points_cost, w.expiry_days, w.max_redemptions, w.vip_tier_id,
           t.name AS tier_name,
           CASE WHEN w.max_redemptions IS NOT NULL THEN (
               SELECT count(*) FROM redemptions o
               WHERE o.shop_id = :shop_id AND o.reward_id = w.id AND o.status = ANY(:counted) AND NOT o.is_refunded
           ) END AS redemptions,
           (SELECT coalesce(sum(remaining), 0) FROM lots) AS balance,
           (SELECT json_agg(json_build_array(id, remaining, earned_at, expires_at) ORDER BY earned_at, id)
            FROM lots WHERE before < w.points_cost) AS lots
    FROM at JOIN shops s ON s.id = :shop_id
    LEFT JOIN customers c ON c.shop_id = s.id AND c.id = :customer_id
    LEFT JOIN rewards w ON w.shop_id = s.id AND w.id = :reward_id AND w.is_active AND w.deleted_at IS NULL
    LEFT JOIN vip_tiers t ON t.shop_id = s.id AND t.id = w.vip_tier_id
    LEFT JOIN redemptions r ON r.shop_id = s.id AND r.id = :redemption_id
""").columns(lots=JSONB, combines_with=JSONB)
_LOCK_REWARD = text("SELECT FROM rewards WHERE shop_id = :shop_id AND id = :reward_id FOR UPDATE")


async def lock_and_read(
    session: AsyncSession, *, shop_id: int, customer_id: str, reward_id: str, redemption_id: str
) -> Reservation:
    """Lock the customer, and the reward if it has a cap, then read what the reservation depends on.

    The read is a statement of its own: one that waits for a lock reads the other rows as they were before.
    """
    ids = {"shop_id": shop_id, "customer_id": customer_id, "reward_id": reward_id, "redemption_id": redemption_id}
    await hold_customer(session, shop_id, customer_id)
    row = (await session.execute(_READ, ids)).one()
    if row.max_redemptions is not None:
        await session.execute(_LOCK_REWARD, ids)
        row = (await session.execute(_READ, ids)).one()
    assert row.customer_id in (None, customer_id), "a redemption has one customer"
    return _reservation(row)


def _reservation(row: Any) -> Reservation:
    member = offer = reward = None
    if row.excluded is not None:
        member = Member(excluded=row.excluded, vip_tier_id=row.member_tier_id, points=int(row.balance))
    if row.reward_id is not None:
        offer = Offer(
            points_cost=row.points_cost,
            vip_tier_id=row.vip_tier_id,
            vip_tier=row.tier_name,
            max_redemptions=row.max_redemptions,
            redemptions=row.redemptions or 0,
        )
        reward = PurchasedReward(**{name: getattr(row, name) for name in PurchasedReward.__dataclass_fields__})
    return Reservation(
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


_WRITE_REDEMPTION = _statement(
    """
    INSERT INTO redemptions AS r (
        id, shop_id, customer_id, reward_id, attempt, status, deadline, reward_name, discount_type, discount_amount,
        minimum_spend, product_variant_id, combines_with, points_spent, expires_at
    ) VALUES (
        :redemption_id, :shop_id, :customer_id, :reward_id, :attempt, :status, :deadline, :reward_name, :discount_type,
        :discount_amount, :minimum_spend, :product_variant_id, :combines_with, :points_cost, :expires_at
    )
    ON CONFLICT (id) DO UPDATE SET
        attempt = EXCLUDED.attempt, status = EXCLUDED.status, deadline = EXCLUDED.deadline,
        reward_name = EXCLUDED.reward_name, discount_type = EXCLUDED.discount_type,
        discount_amount = EXCLUDED.discount_amount, minimum_spend = EXCLUDED.minimum_spend,
        product_variant_id = EXCLUDED.product_variant_id, combines_with = EXCLUDED.combines_with,
        points_spent = EXCLUDED.points_spent, expires_at = EXCLUDED.expires_at, updated_at = now()
    """,
    combines_with=JSONB,
)


async def write_redemption(
    session: AsyncSession,
    *,
    shop_id: int,
    customer_id: str,
    redemption_id: str,
    attempt: int,
    status: RedemptionStatus,
    deadline: datetime,
    reward: PurchasedReward,
    now: datetime,
) -> None:
    """Write the redemption's row for this attempt. An earlier attempt must have failed."""
    has_amount = DiscountType(reward.discount_type).has_amount
    values = {
        **asdict(reward),
        "discount_amount": reward.discount_amount if has_amount else None,
        "shop_id": shop_id,
        "customer_id": customer_id,
        "redemption_id": redemption_id,
        "attempt": attempt,
        "status": status,
        "deadline": deadline,
        "expires_at": reward.code_expiry(now),
    }
    await session.execute(_WRITE_REDEMPTION, values)


_RESERVE = _statement(
    """
    WITH code AS (
        INSERT INTO discount_codes (shop_id, redemption_id, attempt, code)
        VALUES (:shop_id, :redemption_id, :attempt, :code)
    ), draws AS (
        INSERT INTO redemption_draws (redemption_id, attempt, lot_id, points)
        SELECT :redemption_id, :attempt, drawn.* FROM unnest(:lot_ids, :points) AS drawn
        RETURNING lot_id, points
    ), lots AS (
        UPDATE point_lots l SET remaining = l.remaining - draws.points FROM draws WHERE l.id = draws.lot_id
    )
    INSERT INTO ledger_entries (shop_id, customer_id, lot_id, points, kind, redemption_id, attempt)
    SELECT :shop_id, :customer_id, lot_id, -points, :reserve, :redemption_id, :attempt FROM draws
    """,
    lot_ids=ARRAY(BigInteger),
    points=ARRAY(Integer),
)


async def reserve(
    session: AsyncSession,
    draws: Sequence[Draw],
    *,
    shop_id: int,
    customer_id: str,
    redemption_id: str,
    attempt: int,
    code: str,
) -> None:
    """Write the attempt's planned code, its draws, the lots and the ledger entries. The customer must be locked."""
    values = {
        "shop_id": shop_id,
        "customer_id": customer_id,
        "redemption_id": redemption_id,
        "attempt": attempt,
        "code": code,
        "lot_ids": [draw.lot_id for draw in draws],
        "points": [draw.points for draw in draws],
    }
    await session.execute(_RESERVE, values)


@dataclass(frozen=True, kw_only=True)
class AttemptCode:
    """The code of an attempt, with the values of its redemption and shop that a discount at Shopify needs.

    `unknown_outcomes`: requests to create it whose outcome is unknown, one in progress included.
    """

    code_id: int
    code: str
    unknown_outcomes: int
    redemption_id: str
    customer_id: str
    reward_id: str
    reward_name: str
    points_spent: int
    discount_type: str
    discount_amount: Decimal | None
    minimum_spend: Decimal | None
    product_variant_id: str | None
    combines_with: list[str]
    created_at: datetime
    expires_at: datetime | None
    domain: str
    credentials: dict[str, str]


_CODE_COLUMNS = """c.id AS code_id, c.code, c.unknown_outcomes, r.id AS redemption_id, r.customer_id,
    r.reward_id, r.reward_name, r.points_spent, r.discount_type, r.discount_amount, r.minimum_spend,
    r.product_variant_id, r.combines_with, r.created_at, r.expires_at, s.domain, s.credentials"""
_COUNT_REQUEST = _statement(f"""
    UPDATE discount_codes c SET unknown_outcomes = c.unknown_outcomes + 1, updated_at = now()
    FROM redemptions r JOIN shops s ON s.id = r.shop_id
    WHERE c.redemption_id = :redemption_id AND c.attempt = :attempt AND c.state = :planned
      AND r.id = c.redemption_id AND r.shop_id = :shop_id AND r.attempt = c.attempt AND r.status = :pending
      AND r.deadline > clock_timestamp()
    RETURNING {_CODE_COLUMNS}
""").columns(combines_with=JSONB, credentials=JSONB)
_READ_CODE = _statement(f"""
    SELECT {_CODE_COLUMNS} FROM discount_codes c
    JOIN redemptions r ON r.id = c.redemption_id JOIN shops s ON s.id = r.shop_id
    WHERE c.redemption_id = :redemption_id AND c.attempt = :attempt AND c.state <> :foreign AND r.shop_id = :shop_id
""").columns(combines_with=JSONB, credentials=JSONB)


async def count_request(session: AsyncSession, *, shop_id: int, redemption_id: str, attempt: int) -> AttemptCode | None:
    """Count a request to create the attempt's code before it is made. None: the attempt is not pending any more."""
    return await _attempt_code(session, _COUNT_REQUEST, shop_id, redemption_id, attempt)


async def find_code(session: AsyncSession, *, shop_id: int, redemption_id: str, attempt: int) -> AttemptCode | None:
    """The attempt's code. None: the attempt reserved nothing."""
    return await _attempt_code(session, _READ_CODE, shop_id, redemption_id, attempt)


async def _attempt_code(
    session: AsyncSession, statement: TextualSelect, shop_id: int, redemption_id: str, attempt: int
) -> AttemptCode | None:
    ids = {"shop_id": shop_id, "redemption_id": redemption_id, "attempt": attempt}
    row = (await session.execute(statement, ids)).mappings().one_or_none()
    return None if row is None else AttemptCode(**row)


_CAPTURE = _statement("""
    WITH code AS (
        SELECT id FROM discount_codes WHERE id = :code_id AND state = :planned FOR UPDATE
    ), redemption AS (
        UPDATE redemptions r SET status = :active, captured_at = clock_timestamp(), updated_at = now(),
            balance_after = (
                SELECT coalesce(sum(l.remaining), 0) FROM point_lots l
                WHERE l.shop_id = r.shop_id AND l.customer_id = r.customer_id AND l.remaining > 0
                  AND (l.expires_at IS NULL OR l.expires_at > clock_timestamp())
            )
        FROM code
        WHERE r.id = :redemption_id AND r.shop_id = :shop_id AND r.attempt = :attempt AND r.status = :pending
          AND r.deadline > clock_timestamp()
        RETURNING code.id
    )
    UPDATE discount_codes c SET state = :live, shopify_id = :shopify_id, updated_at = now()
    FROM redemption WHERE c.id = redemption.id
    RETURNING c.id
""")


async def capture(
    session: AsyncSession, *, shop_id: int, redemption_id: str, attempt: int, code_id: int, shopify_id: str
) -> bool:
    """`pending` → `active`, `planned` → `live`: the pivot. The customer must be locked, so that the balance is exact.

    False: the attempt has failed, was superseded or is past its deadline, or the code was replaced.
    """
    ids = {"shop_id": shop_id, "redemption_id": redemption_id, "attempt": attempt}
    values = {**ids, "code_id": code_id, "shopify_id": shopify_id}
    return (await session.execute(_CAPTURE, values)).scalar_one_or_none() is not None
