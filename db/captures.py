"""Requests for discount codes, and their capture. Each is one statement, to save round trips."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ARRAY, LargeBinary, RowMapping, String, TextualSelect
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from db.activity_log import ADD_ENTRY
from db.deliveries import ADD_DELIVERIES, delivery_values
from db.points import balance_sql
from db.shopify_budgets import BUDGET_COLUMNS, pop_budget
from db.statements import statement
from domain.activity_log import ActivityKind
from domain.channels import Channel
from domain.events import EventKind
from domain.shopify_budget import ShopifyBudget

NOTIFICATIONS = "pointsaga_captured"
"""The channel of PostgreSQL on which a committed capture is notified, with the redemption's id."""


@dataclass(frozen=True, kw_only=True)
class AttemptCode:
    """The code of an attempt, with the values of its redemption and shop that a discount at Shopify needs.

    Attributes:
        unknown_outcomes: requests to create it whose outcome is unknown, one in progress included.
        actor: who purchases. None: the idempotency key was erased with its customer.
    """

    code_id: int
    code: str
    unknown_outcomes: int
    shop_id: int
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
    applies_to: dict[str, list[str]] | None
    purchase_type: str | None
    billing_cycles: int | None
    created_at: datetime
    expires_at: datetime | None
    domain: str
    currency: str
    credentials: dict[str, str]
    actor: str | None
    budget: ShopifyBudget | None


_CODE_COLUMNS = (
    """c.id AS code_id, c.code, c.unknown_outcomes, r.shop_id, r.id AS redemption_id, r.customer_id,
    r.reward_id, r.reward_name, r.points_spent, r.discount_type, r.discount_amount, r.minimum_spend,
    r.product_variant_id, r.combines_with, r.applies_to, r.purchase_type, r.billing_cycles, r.created_at,
    r.expires_at, s.domain, s.currency, s.credentials,
    (SELECT k.actor FROM idempotency_keys k WHERE k.redemption_id = r.id) AS actor,
    """
    + BUDGET_COLUMNS
)
_COUNT_REQUEST = statement(f"""
    UPDATE discount_codes c SET requested_at = coalesce(c.requested_at, clock_timestamp()),
        unknown_outcomes = c.unknown_outcomes + 1, updated_at = now()
    FROM redemptions r JOIN shops s ON s.id = r.shop_id LEFT JOIN shopify_budgets b ON b.shop_id = s.id
    WHERE c.redemption_id = :redemption_id AND c.attempt = :attempt AND c.state = :planned AND c.is_current
      AND (c.not_before IS NULL OR c.not_before <= clock_timestamp())
      AND r.id = c.redemption_id AND r.shop_id = :shop_id AND r.attempt = c.attempt AND r.status = :pending
      AND r.deadline > clock_timestamp()
    RETURNING {_CODE_COLUMNS}
""").columns(combines_with=JSONB, applies_to=JSONB, credentials=JSONB)
_READ_CODE = statement(f"""
    SELECT {_CODE_COLUMNS} FROM discount_codes c
    JOIN redemptions r ON r.id = c.redemption_id JOIN shops s ON s.id = r.shop_id
    LEFT JOIN shopify_budgets b ON b.shop_id = s.id
    WHERE c.redemption_id = :redemption_id AND c.attempt = :attempt AND c.state <> :foreign AND c.is_current
      AND r.shop_id = :shop_id
""").columns(combines_with=JSONB, applies_to=JSONB, credentials=JSONB)


_OF_REISSUE = _CODE_COLUMNS.replace("r.created_at", "i.created_at").replace("r.expires_at", "i.expires_at")
_COUNT_REISSUE = statement(f"""
    UPDATE discount_codes c SET unknown_outcomes = c.unknown_outcomes + 1, updated_at = now()
    FROM reissues i JOIN redemptions r ON r.id = i.redemption_id JOIN shops s ON s.id = r.shop_id
    LEFT JOIN shopify_budgets b ON b.shop_id = s.id
    WHERE c.id = i.code_id AND c.state = :planned AND i.status = :requested
      AND i.redemption_id = :redemption_id AND i.order_id = :order_id AND i.shop_id = :shop_id
    RETURNING {_OF_REISSUE}
""").columns(combines_with=JSONB, applies_to=JSONB, credentials=JSONB)
_READ_REISSUE = statement(f"""
    SELECT {_OF_REISSUE} FROM reissues i JOIN discount_codes c ON c.id = i.code_id
    JOIN redemptions r ON r.id = i.redemption_id JOIN shops s ON s.id = r.shop_id
    LEFT JOIN shopify_budgets b ON b.shop_id = s.id
    WHERE i.redemption_id = :redemption_id AND i.order_id = :order_id AND i.shop_id = :shop_id
""").columns(combines_with=JSONB, applies_to=JSONB, credentials=JSONB)


async def count_reissue(session: AsyncSession, shop_id: int, redemption_id: str, order_id: str) -> AttemptCode | None:
    """Count a request to create the code of a reissue before it is made. None: the reissue is not pending any more."""
    return await _reissued_code(session, _COUNT_REISSUE, shop_id, redemption_id, order_id)


async def find_reissued_code(session: AsyncSession, shop_id: int, redemption_id: str, order_id: str) -> AttemptCode:
    """The code of a reissue."""
    code = await _reissued_code(session, _READ_REISSUE, shop_id, redemption_id, order_id)
    assert code is not None, "a reissue has its code"
    return code


async def _reissued_code(
    session: AsyncSession, query: TextualSelect, shop_id: int, redemption_id: str, order_id: str
) -> AttemptCode | None:
    ids = {"shop_id": shop_id, "redemption_id": redemption_id, "order_id": order_id}
    return _code((await session.execute(query, ids)).mappings().one_or_none())


async def count_request(session: AsyncSession, *, shop_id: int, redemption_id: str, attempt: int) -> AttemptCode | None:
    """Count a request to create the attempt's code before it is made.

    None: the attempt is not pending any more, or its turn in the shop's Shopify budget has not come.
    """
    return await _attempt_code(session, _COUNT_REQUEST, shop_id, redemption_id, attempt)


async def find_code(session: AsyncSession, *, shop_id: int, redemption_id: str, attempt: int) -> AttemptCode | None:
    """The attempt's code. None: the attempt reserved nothing."""
    return await _attempt_code(session, _READ_CODE, shop_id, redemption_id, attempt)


async def _attempt_code(
    session: AsyncSession, query: TextualSelect, shop_id: int, redemption_id: str, attempt: int
) -> AttemptCode | None:
    ids = {"shop_id": shop_id, "redemption_id": redemption_id, "attempt": attempt}
    return _code((await session.execute(query, ids)).mappings().one_or_none())


def _code(row: RowMapping | None) -> AttemptCode | None:
    if row is None:
        return None
    values = dict(row)
    budget = pop_budget(values)
    return AttemptCode(**values, budget=budget)


_CAPTURE = statement(
    f"""
    WITH code AS (
        SELECT id FROM discount_codes WHERE id = :code_id AND state = :planned FOR UPDATE
    ), redemption AS (
        UPDATE redemptions r SET status = :active, captured_at = clock_timestamp(), updated_at = now(),
            currency = (SELECT s.currency FROM shops s WHERE s.id = r.shop_id), contact = :contact,
            balance_after = {balance_sql("r.shop_id", "r.customer_id")}
        FROM code
        WHERE r.id = :redemption_id AND r.shop_id = :shop_id AND r.attempt = :attempt AND r.status = :pending
          AND r.deadline > clock_timestamp()
        RETURNING r.id, r.shop_id, r.customer_id, code.id AS code_id
    ), live AS (
        UPDATE discount_codes c SET state = :live, shopify_id = :shopify_id, updated_at = now(), answered_at = now()
        FROM redemption WHERE c.id = redemption.code_id
    ), entry AS ({ADD_ENTRY}), added AS ({ADD_DELIVERIES})
    SELECT pg_notify(:notifications, id) FROM redemption
""",
    contact=LargeBinary,
    entry=String,
    facts=JSONB,
    channels=ARRAY(String),
    erased=String,
    notifications=String,
)


async def capture(
    session: AsyncSession,
    *,
    shop_id: int,
    redemption_id: str,
    attempt: int,
    code_id: int,
    shopify_id: str,
    contact: bytes,
    facts: dict[str, Any],
    channels: Iterable[Channel],
) -> bool:
    """`pending` → `active`, `planned` → `live`: the pivot. The customer must be locked, so that the balance is exact.

    Adds the entry of the activity log, with these facts, and the deliveries. Balance, currency and contact data
    (encrypted) are what every delivery of the event sends.
    False: the attempt has failed, was superseded or is past its deadline, or the code was replaced.
    """
    ids = {"shop_id": shop_id, "redemption_id": redemption_id, "attempt": attempt}
    code = {"code_id": code_id, "shopify_id": shopify_id, "contact": contact}
    entry = {"entry": ActivityKind.REWARD_REDEEMED, "facts": facts, "notifications": NOTIFICATIONS}
    values = {**ids, **code, **entry, **delivery_values(channels, EventKind.REWARD_REDEEMED)}
    return (await session.execute(_CAPTURE, values)).first() is not None
