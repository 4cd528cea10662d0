"""Queries about deliveries."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ARRAY, Boolean, ColumnElement, Float, Interval, String, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from db.activity_log import OfRedemption
from db.shopify_budgets import BUDGET_COLUMNS, TAKE, pop_budget
from db.statements import statement
from db.tables import Delivery, Redemption
from domain.deliveries import UNSENT, DeliveryStatus
from domain.events import EventKind, RewardEvent
from domain.shopify_budget import METAFIELD_RESERVE, ShopifyBudget

ERASED = "the customer was erased"
"""Why a delivery is skipped."""

ADD_DELIVERIES = """INSERT INTO deliveries (redemption_id, shop_id, event, channel, status, last_error)
    SELECT r.id, r.shop_id, :event, channel,
           CASE WHEN c.erased_at IS NULL THEN :undelivered ELSE :skipped END,
           CASE WHEN c.erased_at IS NOT NULL THEN :erased END
    FROM redemption r JOIN customers c ON c.shop_id = r.shop_id AND c.id = r.customer_id
    CROSS JOIN unnest(:channels) channel"""
"""Adds deliveries within a statement that has the redemption's row as `redemption`. See `add_deliveries`."""

_ADD = statement(
    f"""
    WITH redemption AS (SELECT id, shop_id, customer_id FROM redemptions WHERE id = :redemption_id)
    {ADD_DELIVERIES}
    """,
    channels=ARRAY(String),
    erased=String,
)


async def add_deliveries(
    session: AsyncSession, redemption: Redemption | OfRedemption, channels: Iterable[str], event: EventKind
) -> None:
    """Add one delivery of the event per channel: pending, or skipped if the customer is erased.

    The customer must be locked, so that an erasure comes either before this or finds the deliveries.
    """
    await session.execute(_ADD, {"redemption_id": redemption.redemption_id, **delivery_values(channels, event)})


def delivery_values(channels: Iterable[str], event: EventKind) -> dict[str, Any]:
    """The parameters of `ADD_DELIVERIES`."""
    return {"event": event, "channels": list(channels), "erased": ERASED}


@dataclass(frozen=True, kw_only=True)
class SendRule:
    """How a channel is sent to.

    Attributes:
        repeatable: whether a send with an unknown outcome may be repeated.
        max_age: older events are skipped. None: never skipped.
        shopify_cost: what a send takes from the shop's Shopify budget.
    """

    repeatable: bool
    max_age: timedelta | None
    shopify_cost: float = 0


@dataclass(frozen=True, kw_only=True)
class EventToSend:
    """An event whose send attempts were recorded, with the shop that sends it.

    Attributes:
        channels: those to send to now.
        contact: the encrypted contact data of the time when the event was recorded. It replaces that of `event`, which
            is today's. None: recorded by an older version.
        budget: the shop's Shopify budget before this. None: no limit.
        has_turn: whether a metafield may be written: its cost was taken from the budget, or there is no limit.
    """

    channels: list[str]
    contact: bytes | None
    shop_id: int
    domain: str
    credentials: dict[str, str]
    budget: ShopifyBudget | None
    has_turn: bool
    event: RewardEvent


def _of_event(column: str, of_purchase: str) -> str:
    """SQL of a value that refunds and reissues have in rows of their own."""
    return f"CASE d.event WHEN :refunded THEN f.{column} WHEN :reissued THEN i.{column} ELSE {of_purchase} END"


_BEGIN = statement(
    f"""
    WITH budget AS (
        {TAKE} AND :shopify_cost > 0
          AND full_at <= clock_timestamp() + make_interval(secs => (1 - :shopify_reserve) * maximum / restore_rate)
        RETURNING shop_id
    )
    UPDATE deliveries d SET attempts = d.attempts + 1, attempted_at = clock_timestamp(), updated_at = now()
    FROM unnest(:channels, :repeatable, :max_ages) AS rule (channel, repeatable, max_age), redemptions r
    JOIN shops s ON s.id = r.shop_id
    JOIN customers c ON (c.shop_id, c.id) = (r.shop_id, r.customer_id)
    JOIN discount_codes k
      ON (k.redemption_id, k.attempt) = (r.id, r.attempt) AND k.state <> :foreign AND k.is_current
    LEFT JOIN refunds f ON f.redemption_id = r.id
    LEFT JOIN reissues i ON i.code_id = k.id
    LEFT JOIN shopify_budgets b ON b.shop_id = s.id
    WHERE d.redemption_id = :redemption_id AND d.shop_id = :shop_id AND d.event = :event AND d.channel = rule.channel
      AND r.id = d.redemption_id AND d.status = :undelivered AND (d.attempted_at IS NULL OR rule.repeatable)
      AND (rule.max_age IS NULL OR d.created_at > clock_timestamp() - rule.max_age)
    RETURNING d.channel, s.domain, s.credentials, {BUDGET_COLUMNS},
              b.shop_id IS NULL OR EXISTS (SELECT FROM budget) AS has_turn,
              coalesce(r.currency, s.currency) AS currency,
              r.reward_id, r.reward_name, c.id AS customer_id, c.email, c.phone, r.points_spent AS points,
              r.discount_type, k.code AS discount_code, r.discount_amount AS discount_value,
              {_of_event("contact", "r.contact")} AS contact,
              CASE d.event WHEN :redeemed THEN r.captured_at WHEN :refunded THEN f.refunded_at
                   WHEN :reissued THEN i.reissued_at ELSE d.created_at END AS occurred_at,
              {_of_event("balance_after", "r.balance_after")} AS points_balance,
              CASE WHEN d.event = :redeemed OR d.event = :reissued THEN r.expires_at END AS expires_at,
              CASE WHEN d.event = :reissued THEN i.number ELSE 0 END AS occurrence
    """,
    channels=ARRAY(String),
    repeatable=ARRAY(Boolean),
    max_ages=ARRAY(Interval),
    shopify_cost=Float,
    shopify_reserve=Float,
).columns(credentials=JSONB)


async def begin_sends(
    session: AsyncSession, shop_id: int, redemption_id: str, event: EventKind, rules: Mapping[str, SendRule]
) -> EventToSend | None:
    """Record a send attempt for each of these channels that may be sent to now, before it is made.

    None: for no channel. A channel is left out if its delivery is settled or missing, if the event is too old, or if
    an earlier attempt may have sent it and must not be repeated. A metafield's cost is taken from the Shopify budget,
    unless the rest of it is left to purchases: then it has no turn.
    """
    values = {
        "shop_id": shop_id,
        "redemption_id": redemption_id,
        "event": event,
        "channels": list(rules),
        "repeatable": [rule.repeatable for rule in rules.values()],
        "max_ages": [rule.max_age for rule in rules.values()],
        "shopify_cost": sum(rule.shopify_cost for rule in rules.values()),
        "shopify_reserve": METAFIELD_RESERVE,
    }
    rows = [dict(row) for row in (await session.execute(_BEGIN, values)).mappings()]
    if not rows:
        return None
    channels = [row.pop("channel") for row in rows]
    shop = {name: rows[0].pop(name) for name in ("domain", "credentials", "contact", "has_turn")}
    budget = pop_budget(rows[0])
    reward_event = RewardEvent(kind=event, redemption_id=redemption_id, **rows[0])
    return EventToSend(channels=channels, shop_id=shop_id, **shop, budget=budget, event=reward_event)


_SETTLE = statement(
    """
    UPDATE deliveries SET status = :status, last_error = :reason, updated_at = now(),
        sent_at = CASE WHEN :status = :sent THEN clock_timestamp() END
    WHERE redemption_id = :redemption_id AND event = :event AND channel = :channel AND shop_id = :shop_id
      AND status = ANY(:may_change)
    RETURNING channel
    """,
    status=String,
    reason=String,
    may_change=ARRAY(String),
)


async def settle(
    session: AsyncSession,
    shop_id: int,
    redemption_id: str,
    event: EventKind,
    channel: str,
    *,
    status: DeliveryStatus,
    reason: str | None,
) -> tuple[DeliveryStatus, str | None]:
    """Record the outcome of a send, unless the delivery was settled differently meanwhile; returns what is recorded."""
    values = {"shop_id": shop_id, "redemption_id": redemption_id, "event": event, "channel": channel}
    values |= {"status": status, "reason": reason, "may_change": [status, *status.predecessors]}
    if (await session.execute(_SETTLE, values)).first() is not None:
        return status, reason
    key = _key(shop_id, redemption_id, event, channel)
    row = (await session.execute(select(Delivery.status, Delivery.last_error).where(*key))).one()
    return row.status, row.last_error


async def keep_pending(
    session: AsyncSession,
    shop_id: int,
    redemption_id: str,
    event: EventKind,
    channel: str,
    *,
    reason: str,
    is_held: bool = False,
) -> None:
    """Record why a send is to be retried: it was not executed, or may be repeated. A held one is no attempt.

    Does nothing if the delivery was settled meanwhile.
    """
    attempts = Delivery.attempts - 1 if is_held else Delivery.attempts
    retried = {"attempted_at": None, "attempts": attempts, "last_error": reason}
    mine = (*_key(shop_id, redemption_id, event, channel), Delivery.status == DeliveryStatus.PENDING)
    await session.execute(update(Delivery).where(*mine).values(retried))


def _key(shop_id: int, redemption_id: str, event: EventKind, channel: str) -> tuple[ColumnElement[bool], ...]:
    delivery = (Delivery.redemption_id == redemption_id, Delivery.event == event, Delivery.channel == channel)
    return (Delivery.shop_id == shop_id, *delivery)


async def lock_delivery(
    session: AsyncSession, shop_id: int, redemption_id: str, event: EventKind, channel: str
) -> Delivery | None:
    """One delivery, locked until the transaction ends."""
    query = select(Delivery).where(*_key(shop_id, redemption_id, event, channel))
    return (await session.execute(query.with_for_update())).scalar_one_or_none()


async def skip_unsent(session: AsyncSession, *conditions: ColumnElement[bool], reason: str) -> None:
    """Skip the unsent deliveries that meet the conditions."""
    unsent = update(Delivery).where(*conditions, Delivery.status.in_(UNSENT))
    await session.execute(unsent.values(status=DeliveryStatus.SKIPPED, last_error=reason))


async def list_unsent(session: AsyncSession, redemption_ids: Sequence[str]) -> Sequence[Delivery]:
    """The unsent deliveries of these redemptions, by channel."""
    query = select(Delivery).where(Delivery.redemption_id.in_(redemption_ids), Delivery.status.in_(UNSENT))
    return (await session.scalars(query.order_by(Delivery.channel))).all()
