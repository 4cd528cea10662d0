"""A shop of any size, written directly into the tables."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from database import migrate
from db.api_keys import hash_key

KEY = "bench-key"
BIG_CUSTOMER = "1"
"""Has half of all entries."""
REWARDS = 100


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Number of customers, and of entries in each kind of history (over all customers)."""

    customers: int
    entries: int


_OWNER = "CASE WHEN n % 2 = 0 THEN '1' ELSE (1 + n * 7919 % :customers)::text END"
_STATUS = "(ARRAY['active', 'used', 'expired'])[1 + n * 31 % 3]"

_LOAD = (
    # Without triggers, which would run per row; the statements write what triggers would have written.
    "SET LOCAL session_replication_role = replica",
    "INSERT INTO shops (domain, name, currency, customers) VALUES ('bench.myshopify.com', 'Bench', 'GBP', :customers)",
    "INSERT INTO api_keys (shop_id, key_hash, scope) VALUES (1, :key_hash, 'full')",
    """INSERT INTO vip_tiers (shop_id, id, name, points_required)
       SELECT 1, 'tier_' || n, 'Tier ' || n, n * 1000 FROM generate_series(1::bigint, 5) n""",
    """INSERT INTO rewards (shop_id, id, name, discount_type, points_cost, created_at)
       SELECT 1, 'reward_' || n, 'Reward ' || n, 'free_shipping', n, now() - n * interval '1 hour'
       FROM generate_series(1::bigint, :rewards) n""",
    """INSERT INTO customers (shop_id, id, email, email_key, excluded, vip_tier_id, created_at, points,
                              lifetime_points, redeemed_points)
       SELECT 1, n::text, 'member' || n || '@shopper.io', 'member' || n || '@shopper.io', n % 50 = 0,
              'tier_' || 1 + n % 5, now() - n * interval '1 minute', n * 7919 % 5000, n * 104729 % 9000,
              n * 1299709 % 4000
       FROM generate_series(1::bigint, :customers) n""",
    """INSERT INTO point_lots (shop_id, customer_id, points, remaining, earned_at)
       SELECT 1, 1 + n % :customers, 100, 50, now() FROM generate_series(1::bigint, 3 * :customers) n""",
    f"""INSERT INTO earnings (id, shop_id, customer_id, action, points, created_at)
        SELECT 'cer_' || n, 1, {_OWNER}, 'import', n * 7919 % 1000, now() - n * interval '1 second'
        FROM generate_series(1::bigint, :entries) n""",
    f"""INSERT INTO redemptions (id, shop_id, customer_id, reward_id, attempt, status, deadline, reward_name,
                                 discount_type, combines_with, points_spent, created_at)
        SELECT 'cr_' || n, 1, {_OWNER}, 'reward_1', 1, {_STATUS}, now(), 'Reward 1', 'free_shipping', '[]',
               n * 7919 % 1000, now() - n * interval '1 second'
        FROM generate_series(1::bigint, :entries) n""",
    """INSERT INTO discount_codes (shop_id, redemption_id, attempt, code, state)
       SELECT 1, 'cr_' || n, 1, 'MAGE-' || n, 'live' FROM generate_series(1::bigint, :entries) n""",
    """INSERT INTO history_counts SELECT shop_id, customer_id, 'earnings', status, count(*)
       FROM earnings GROUP BY 1, 2, 4""",
    """INSERT INTO history_counts SELECT shop_id, customer_id, 'redemptions', status, count(*)
       FROM redemptions GROUP BY 1, 2, 4""",
)


async def fill(engine: AsyncEngine, sizes: Sizes) -> None:
    """Migrate an empty database and load the shop."""
    await migrate(engine)
    numbers = {"customers": sizes.customers, "entries": sizes.entries, "rewards": REWARDS, "key_hash": hash_key(KEY)}
    async with engine.begin() as connection:
        for statement in _LOAD:
            await connection.execute(text(statement), numbers)
    # Not left to autovacuum, which would run during the measurement.
    vacuum = await engine.connect()
    await (await vacuum.execution_options(isolation_level="AUTOCOMMIT")).execute(text("VACUUM ANALYZE"))
    await vacuum.close()
