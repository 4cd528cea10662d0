"""The Shopify budgets of shops. A shop whose answers have no throttle figures has no row, and no limit.

Purchases lock the row, always after everything else, until they commit. All else is one statement.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import Float, Interval, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.statements import statement
from domain.shopify_budget import (
    CLEARLY_LESS,
    CREATION_COST,
    METAFIELD_COST,
    METAFIELD_RESERVE,
    UNSEEN,
    ShopifyBudget,
)

BUDGET_COLUMNS = "b.maximum, b.restore_rate, greatest(b.full_at - clock_timestamp(), interval '0') AS full_in"
"""Of `shopify_budgets b`, for statements that read the budget with something else. See `pop_budget`."""

TAKE = f"""
    UPDATE shopify_budgets
    SET full_at = greatest(full_at, clock_timestamp() + interval '{UNSEEN.total_seconds()} s')
        + make_interval(secs => :shopify_cost / restore_rate)
    WHERE shop_id = :shop_id
"""
"""Takes a cost from the shop's budget, for statements that do something else too. They add conditions and RETURNING."""

_FIND = text(f"SELECT {BUDGET_COLUMNS} FROM shopify_budgets b WHERE b.shop_id = :shop_id")

# It rises only to what is left when all purchases in progress have requested their codes, less a share for metafields.
# While turns are given in advance it does not rise at all: the next purchase would be served before them.
_STORE = statement(
    """
    INSERT INTO shopify_budgets AS b (shop_id, maximum, restore_rate, full_at)
    VALUES (:shop_id, :maximum, :restore_rate, clock_timestamp() + :full_in)
    ON CONFLICT (shop_id) DO UPDATE SET maximum = EXCLUDED.maximum, restore_rate = EXCLUDED.restore_rate,
        full_at = least(
            greatest(b.full_at, EXCLUDED.full_at),
            CASE WHEN b.full_at <= clock_timestamp() + make_interval(secs => b.maximum / b.restore_rate) THEN
                EXCLUDED.full_at + make_interval(secs => (
                    :creation_cost * (SELECT count(*) FROM redemptions WHERE shop_id = :shop_id AND status = :pending)
                    + :share * EXCLUDED.maximum
                ) / EXCLUDED.restore_rate)
            END
        )
    """,
    full_in=Interval,
    creation_cost=Float,
    share=Float,
)

# Not before the reserve of purchases is available, and after the metafields that wait already. Each of them has the
# time in which Shopify restores its cost.
_DEFER_METAFIELD = statement(
    """
    UPDATE shopify_budgets
    SET metafield_at = make_interval(secs => :metafield_cost / restore_rate) + greatest(
        metafield_at, clock_timestamp(), full_at - make_interval(secs => (1 - :reserve) * maximum / restore_rate)
    )
    WHERE shop_id = :shop_id
    RETURNING metafield_at - make_interval(secs => :metafield_cost / restore_rate) - clock_timestamp() AS wait
    """,
    metafield_cost=Float,
    reserve=Float,
)


async def find_budget(session: AsyncSession, shop_id: int) -> ShopifyBudget | None:
    """The shop's budget now. None: no limit."""
    row = (await session.execute(_FIND, {"shop_id": shop_id})).mappings().one_or_none()
    return None if row is None else ShopifyBudget(**row)


async def store_figures(session: AsyncSession, shop_id: int, reported: ShopifyBudget) -> None:
    """Store Shopify's figures. They do not contain the calls that are counted but not made yet."""
    values = {"maximum": reported.maximum, "restore_rate": reported.restore_rate, "full_in": reported.full_in}
    await session.execute(_STORE, {"shop_id": shop_id, "creation_cost": CREATION_COST, "share": CLEARLY_LESS, **values})


async def defer_metafield(session: AsyncSession, shop_id: int) -> timedelta:
    """Choose when a metafield without a turn is retried, and return the time until then.

    The metafields of a shop are retried one after the other: docs/decisions/0098.
    """
    values = {"shop_id": shop_id, "metafield_cost": METAFIELD_COST, "reserve": METAFIELD_RESERVE}
    wait: timedelta = (await session.execute(_DEFER_METAFIELD, values)).scalar_one()
    return max(wait, timedelta())


def pop_budget(row: dict[str, Any]) -> ShopifyBudget | None:
    """Remove the budget from a row with `BUDGET_COLUMNS`, and return it."""
    maximum, restore_rate, full_in = (row.pop(name) for name in ("maximum", "restore_rate", "full_in"))
    if maximum is None:
        return None
    return ShopifyBudget(maximum=maximum, restore_rate=restore_rate, full_in=full_in or timedelta())
