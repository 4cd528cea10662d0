"""The claim of an idempotency key by a purchase: one statement, with everything that the purchase needs."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Interval
from sqlalchemy.ext.asyncio import AsyncSession

from db.statements import statement
from domain.addresses import address_key
from domain.redemptions import REJECTION_KEPT


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An idempotency key, with what its purchase needs.

    Attributes:
        customer_id: the customer as resolved by the first request. None: customer or reward did not exist.
        excluded: of the customer with this identifier. None: there is none.
        reward_name, points_cost: of the active reward. None: there is none.
        is_captured: whether the key's redemption is captured.
        is_rejected: whether Shopify has recently rejected a code for this customer and reward permanently. False for a
            key whose workflow may be open.
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
    is_rejected: bool
    has_subscriptions: bool
    now: datetime


# The key of a concurrent request can be missing in the result: its row is committed after this statement's snapshot.
_CLAIM = statement(
    """
    WITH buyer AS (
        SELECT id, excluded FROM customers WHERE shop_id = :shop_id AND id = :identifier
        UNION ALL
        SELECT id, excluded FROM customers WHERE shop_id = :shop_id AND email_key = :email_key
    ), offer AS (
        SELECT name, points_cost, updated_at FROM rewards
        WHERE shop_id = :shop_id AND id = :reward_id AND is_active AND deleted_at IS NULL
    ), claimed AS (
        INSERT INTO idempotency_keys (
            shop_id, key, is_made, fingerprint, redemption_id, request_id, customer_id, actor
        )
        VALUES (
            :shop_id, :key, :is_made, :fingerprint, :redemption_id, :request_id,
            (SELECT buyer.id FROM buyer, offer), :actor
        )
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
           buyer.excluded, offer.name AS reward_name, offer.points_cost,
           coalesce(r.status = ANY(:captured), false) AS is_captured, clock_timestamp() AS now,
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
    FROM known LEFT JOIN buyer ON true LEFT JOIN offer ON true LEFT JOIN redemptions r ON r.id = known.redemption_id
    """,
    rejection_kept=Interval,
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
) -> Claim:
    """Claim the key, or read it if it exists. A new key gets the fingerprint, the ids, the customer and the actor."""
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
    }
    row = (await session.execute(_CLAIM, values)).mappings().one_or_none()
    if row is None:
        row = (await session.execute(_CLAIM, values)).mappings().one()
    return Claim(**row)
