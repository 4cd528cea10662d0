"""The invariants of the ledger, as queries that find violations."""

from dataclasses import dataclass

from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncSession

from db.statements import statement
from db.transactions import Snapshot


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A violation. `shop` is its domain, where it is known; `command` is what settles it, where there is one."""

    invariant: str
    subject: str
    detail: str
    shop: str | None = None
    command: str | None = None


# Each query returns (shop_id, subject, detail) of the violations. `{lots}`, `{entries}` and so on restrict what is
# checked.
_QUERIES = {
    "a lot's remaining points are the sum of its entries": """
        SELECT l.shop_id, 'lot ' || l.id, 'remaining ' || l.remaining || ', entries ' || coalesce(sum(e.points), 0)
        FROM point_lots l LEFT JOIN ledger_entries e ON e.lot_id = l.id
        WHERE {lots} GROUP BY l.id HAVING l.remaining <> coalesce(sum(e.points), 0)
    """,
    "a customer's lots hold the sum of their entries": """
        SELECT shop_id, 'customer ' || customer_id, 'lots ' || sum(lots) || ', entries ' || sum(entries) FROM (
            SELECT shop_id, customer_id, remaining AS lots, 0 AS entries FROM point_lots l WHERE {lots}
            UNION ALL SELECT shop_id, customer_id, 0, points FROM ledger_entries e WHERE {entries}
        ) both_sides GROUP BY shop_id, customer_id HAVING sum(lots) <> sum(entries)
    """,
    "a redemption's draws are its reserve entries": """
        SELECT r.shop_id, 'redemption ' || r.id,
               'lot ' || coalesce(d.lot_id, e.lot_id) || ': drawn ' || coalesce(d.points, 0)
               || ', reserved ' || coalesce(-e.points, 0)
        FROM (SELECT * FROM redemption_draws r WHERE {of_redemptions}) d FULL JOIN (
            SELECT * FROM ledger_entries r WHERE kind = :reserve AND {of_redemptions}
        ) e USING (redemption_id, attempt, lot_id)
        JOIN redemptions r ON r.id = coalesce(d.redemption_id, e.redemption_id)
        WHERE d.points IS DISTINCT FROM -e.points
    """,
    "a redemption holds its cost while pending or captured, and nothing once failed or refunded": """
        SELECT r.shop_id, 'redemption ' || r.id, r.status || ': costs ' || r.points_spent || ', holds ' || held.points
        FROM redemptions r CROSS JOIN LATERAL (
            SELECT coalesce(-sum(e.points), 0) AS points FROM ledger_entries e WHERE e.redemption_id = r.id
        ) held
        WHERE {redemptions}
          AND held.points <> CASE WHEN r.status = :failed OR r.is_refunded THEN 0 ELSE r.points_spent END
    """,
    "a captured redemption has one live code until it is refunded, any other has none": """
        SELECT r.shop_id, 'redemption ' || r.id, r.status || ' with ' || count(c.id) || ' live codes'
        FROM redemptions r LEFT JOIN discount_codes c ON c.redemption_id = r.id AND c.state = :live
        WHERE {redemptions} GROUP BY r.id
        HAVING count(c.id) <>
               CASE WHEN r.status = ANY(:captured) AND NOT r.is_refunded THEN 1 ELSE 0 END
    """,
    "a refund returns each draw of its redemption": """
        SELECT r.shop_id, 'redemption ' || r.id,
               'drawn ' || drawn.points::text || ', refunded ' || refunded.points::text
        FROM redemptions r CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(d.points ORDER BY d.points), ARRAY[]::integer[]) AS points
            FROM redemption_draws d WHERE d.redemption_id = r.id AND d.attempt = r.attempt
        ) drawn CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(e.points ORDER BY e.points), ARRAY[]::integer[]) AS points
            FROM ledger_entries e WHERE e.redemption_id = r.id AND e.kind = :refund
        ) refunded
        WHERE {redemptions}
          AND refunded.points <> CASE WHEN r.is_refunded THEN drawn.points ELSE ARRAY[]::integer[] END
    """,
    "a redemption is refunded when its refund is done, and is then expired": """
        SELECT r.shop_id, 'redemption ' || r.id, r.status || CASE WHEN r.is_refunded THEN ', refunded' ELSE '' END
               || ', refund ' || coalesce(f.status, 'none')
        FROM redemptions r LEFT JOIN refunds f ON f.redemption_id = r.id
        WHERE {redemptions}
          AND (r.is_refunded <> coalesce(f.status = :done, false) OR (r.is_refunded AND r.status <> :expired))
    """,
    "a customer's totals are the sums of the ledger": """
        SELECT c.shop_id, 'customer ' || c.id,
               concat('points ', c.points, ', lifetime ', c.lifetime_points, ', redeemed ', c.redeemed_points,
                      '; entries ', e.points, ', ', e.lifetime_points, ', ', e.redeemed_points)
        FROM customers c
        LEFT JOIN (
            SELECT shop_id, customer_id, sum(points) AS points, sum(lifetime_points) AS lifetime_points,
                   coalesce(-sum(points) FILTER (WHERE kind = ANY(:redeeming)), 0) AS redeemed_points
            FROM ledger_entries e WHERE {entries} GROUP BY shop_id, customer_id
        ) e ON (e.shop_id, e.customer_id) = (c.shop_id, c.id)
        WHERE {customers} AND (c.points, c.lifetime_points, c.redeemed_points)
              <> (coalesce(e.points, 0), coalesce(e.lifetime_points, 0), coalesce(e.redeemed_points, 0))
    """,
    "stored counts of lists match their rows": """
        SELECT shop_id, 'customer ' || customer_id, history || ' ' || status || ': stored ' || sum(stored)
               || ', rows ' || sum(rows) FROM (
            SELECT shop_id, customer_id, history, status, entries AS stored, 0 AS rows
            FROM history_counts l WHERE {lots}
            UNION ALL SELECT shop_id, customer_id, 'earnings', status, 0, 1 FROM earnings l WHERE {lots}
            UNION ALL SELECT shop_id, customer_id, 'redemptions', status, 0, 1 FROM redemptions l WHERE {lots}
        ) both_sides GROUP BY shop_id, customer_id, history, status HAVING sum(stored) <> sum(rows)
        UNION ALL
        SELECT s.id, 'shop ' || s.domain, 'customers: stored ' || s.customers || ', rows ' || count(c.id)
        FROM shops s LEFT JOIN customers c ON c.shop_id = s.id
        WHERE {shops} GROUP BY s.id HAVING s.customers <> count(c.id)
    """,
}

_WITH_SHOP = """
    SELECT s.domain, v.subject, v.detail FROM ({query}) v(shop_id, subject, detail) JOIN shops s ON s.id = v.shop_id
    ORDER BY 1, 2
"""

# More than 50 purchases a second write between two checks.
_LATEST = "(SELECT shop_id, customer_id, redemption_id FROM ledger_entries ORDER BY id DESC LIMIT 2000) latest"
_THEIR_CUSTOMERS = f"(SELECT shop_id, customer_id FROM {_LATEST})"
_THEIR_REDEMPTIONS = f"(SELECT redemption_id FROM {_LATEST})"
# Entries have an index by lot, not by customer. The customers of a shop are too many to count often.
_RECENT = {
    "lots": f"(l.shop_id, l.customer_id) IN {_THEIR_CUSTOMERS}",
    "entries": f"e.lot_id IN (SELECT id FROM point_lots WHERE (shop_id, customer_id) IN {_THEIR_CUSTOMERS})",
    "redemptions": f"r.id IN {_THEIR_REDEMPTIONS}",
    "of_redemptions": f"r.redemption_id IN {_THEIR_REDEMPTIONS}",
    "customers": f"(c.shop_id, c.id) IN {_THEIR_CUSTOMERS}",
    "shops": "false",
}
_EVERYTHING = dict.fromkeys(_RECENT, "true")

INVARIANTS = {
    invariant: statement(_WITH_SHOP.format(query=query.format_map(_EVERYTHING)))
    for invariant, query in _QUERIES.items()
}


def _counted(query: str) -> TextClause:
    return statement(f"SELECT count(*) FROM ({query}) violations")


_COUNTS = {invariant: _counted(query.format_map(_EVERYTHING)) for invariant, query in _QUERIES.items()}
_RECENT_COUNTS = {invariant: _counted(query.format_map(_RECENT)) for invariant, query in _QUERIES.items()}


async def audit(session: Snapshot) -> list[Finding]:
    """Every violation. A snapshot, as without one a purchase in progress would look like a violation."""
    return [
        Finding(invariant=invariant, subject=subject, detail=detail, shop=shop)
        for invariant, query in INVARIANTS.items()
        for shop, subject, detail in await session.execute(query)
    ]


async def count_violations(session: AsyncSession, invariant: str, *, of_recent: bool) -> int:
    """How often the invariant is violated. `of_recent`: only by customers and redemptions of the latest entries."""
    counts = _RECENT_COUNTS if of_recent else _COUNTS
    return (await session.execute(counts[invariant])).scalar_one()
