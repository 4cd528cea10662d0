"""The claim of an idempotency key by a purchase: one statement, with everything that the purchase needs."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Boolean, Integer, Interval, LargeBinary, String
from sqlalchemy.ext.asyncio import AsyncSession

from db.rewards import offered_sql
from db.statements import statement
from domain.addresses import address_key
from domain.eligibility import RefusalCode
from domain.redemptions import REJECTION_KEPT
from domain.reward_terms import Pricing


class WrongSpending(Exception):
    """The points to spend are missing for variable pricing, or given for fixed pricing. No key is claimed.

    `code`: which of the two.
    """

    def __init__(self, code: RefusalCode) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An idempotency key, with what its purchase needs.

    Attributes:
        customer_id: the customer as resolved by the first request. None: customer or reward did not exist.
        excluded: of the customer with this identifier. None: there is none. False: also if merged into another.
        reward_name, points_cost: of the active reward. None: there is none.
        is_captured: whether the key's redemption is captured.
        is_queued: whether the attempt is a queued purchase that has reserved its points.
        is_rejected: whether Shopify has recently rejected a code for this customer and reward permanently. False for a
            key with a workflow that may be open.
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
    is_queued: bool
    is_rejected: bool
    has_subscriptions: bool
    now: datetime


# The key of a concurrent request can be missing in the result: its row is committed after this statement's snapshot.
_CLAIM = statement(
    f"""
    WITH buyer AS (
        SELECT id, excluded AND merged_into IS NULL AS excluded FROM customers
        WHERE shop_id = :shop_id AND id = :identifier
        UNION ALL
        SELECT id, excluded FROM customers WHERE shop_id = :shop_id AND email_key = :email_key
    ), offer AS (
        SELECT name, points_cost, pricing, updated_at, (pricing = :variable) <> :names_points AS is_wrong FROM rewards w
        WHERE shop_id = :shop_id AND id = :reward_id AND {offered_sql("w", "clock_timestamp()")}
    ), claimed AS (
        INSERT INTO idempotency_keys (
            shop_id, key, is_made, fingerprint, redemption_id, request_id, customer_id, actor
        )
        SELECT :shop_id, :key, :is_made, :fingerprint, :redemption_id, :request_id,
               (SELECT buyer.id FROM buyer, offer), :actor
        WHERE NOT EXISTS (SELECT FROM offer WHERE is_wrong)
        -- A key without customer and answer was left by a request that did not end.
        ON CONFLICT (shop_id, key) DO UPDATE SET customer_id = EXCLUDED.customer_id
        WHERE idempotency_keys.customer_id IS NULL AND idempotency_keys.status IS NULL
          AND idempotency_keys.fingerprint = EXCLUDED.fingerprint
        RETURNING fingerprint, redemption_id, attempt, customer_id, status, body, created_at
    ), known AS (
        SELECT * FROM claimed
        UNION ALL
        SELECT fingerprint, redemption_id, attempt, customer_id, status, body, created_at FROM idempotency_keys
        WHERE shop_id = :shop_id AND key = :key AND NOT EXISTS (SELECT FROM claimed)
    )
    SELECT known.fingerprint, known.redemption_id, known.attempt, known.customer_id, known.status, known.body,
           buyer.excluded, offer.name AS reward_name, offer.points_cost, offer.pricing,
           coalesce(r.status = ANY(:captured), false) AS is_captured, clock_timestamp() AS now,
           coalesce(r.is_queued AND r.attempt = known.attempt, false) AS is_queued,
           EXISTS (
               SELECT FROM redemptions f
               WHERE f.shop_id = :shop_id AND f.customer_id = known.customer_id AND f.status = :failed
                 AND f.reward_id = :reward_id
                 -- A changed reward may be accepted.
                 AND f.rejected_at > greatest(clock_timestamp() - :rejection_kept, offer.updated_at)
                 -- An older key whose attempt has not failed may have an open workflow: its answer is waited for.
                 AND (f.rejected_at < known.created_at OR r.attempt < known.attempt)
           ) AS is_rejected,
           EXISTS (SELECT FROM webhook_subscriptions w WHERE w.shop_id = :shop_id AND w.is_active) AS has_subscriptions
    FROM (SELECT) one LEFT JOIN known ON true LEFT JOIN buyer ON true LEFT JOIN offer ON true
    LEFT JOIN redemptions r ON r.id = known.redemption_id
    """,
    rejection_kept=Interval,
    **dict.fromkeys(("key", "redemption_id", "request_id", "actor"), String),
    shop_id=Integer,
    is_made=Boolean,
    names_points=Boolean,
    fingerprint=LargeBinary,
)


async def claim_purchase(
    session: AsyncSession,
    shop_id: int,
    *,
    key: str,
    key_is_made: bool,
    fingerprint: bytes,
    redemption_id: str,
    request_id: str,
    customer_identifier: str,
    reward_id: str,
    actor: str,
    points_to_spend: int | None,
) -> Claim:
    """Claim the key, or read it if it exists. A new key gets the fingerprint, the ids, the customer and the actor.

    Raises `WrongSpending`, unless the key exists.
    """
    is_email = "@" in customer_identifier
    values = {
        "shop_id": shop_id,
        "key": key,
        "is_made": key_is_made,
        "fingerprint": fingerprint,
        "redemption_id": redemption_id,
        "request_id": request_id,
        "identifier": None if is_email else customer_identifier,
        "email_key": address_key(customer_identifier) if is_email else None,
        "reward_id": reward_id,
        "actor": actor,
        "rejection_kept": REJECTION_KEPT,
        "variable": Pricing.VARIABLE,
        "names_points": points_to_spend is not None,
    }
    claimed = dict((await session.execute(_CLAIM, values)).mappings().one())
    if claimed["fingerprint"] is None and not _is_wrong(claimed["pricing"], points_to_spend):
        claimed = dict((await session.execute(_CLAIM, values)).mappings().one())
    pricing = claimed.pop("pricing")
    if claimed["fingerprint"] is None:
        is_variable = pricing == Pricing.VARIABLE
        code = RefusalCode.POINTS_TO_SPEND_MISSING if is_variable else RefusalCode.POINTS_TO_SPEND_NOT_ALLOWED
        raise WrongSpending(code)
    return Claim(**claimed)


def _is_wrong(pricing: str | None, points_to_spend: int | None) -> bool:
    return pricing is not None and (pricing == Pricing.VARIABLE) != (points_to_spend is not None)
