"""Expire points and redemptions. Each activity handles one batch and returns its size; 0 means that nothing is due."""

from functools import partial

from temporalio import activity

import metrics
from database import Sessions
from db import metafields, points, redemptions, transactions
from db.activity_log import log_customer
from db.customers import lock_customer
from domain.activity_log import ActivityKind

# Batch sizes: keep one activity under about 5 s. 200 lots can belong to 200 customers.
LOTS_PER_BATCH = 200
REDEMPTIONS_PER_BATCH = 1000


class Expiry:
    """Expires points and redemptions."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @activity.defn
    async def expire_points(self, _: None) -> int:
        """Empty the lots that expired longest ago; returns the number of customers concerned.

        No balance changes: a lot does not count from the instant it expires.
        """
        async with self._sessions() as session:
            now = await transactions.now(session)
            owners = await points.owners_of_expired_lots(session, now=now, lots=LOTS_PER_BATCH)
        return sum([await self._expire(*owner) for owner in owners])

    @activity.defn
    async def expire_redemptions(self, _: None) -> int:
        """Expire redemptions whose code no new order can use; returns how many."""
        async with self._sessions.begin() as session:
            now = await transactions.now(session)
            return await redemptions.expire(session, now=now, limit=REDEMPTIONS_PER_BATCH)

    async def _expire(self, shop_id: int, customer_id: str) -> bool:
        async with self._sessions.begin() as session:
            # A customer locked by a purchase or import is left to the next sweep.
            if await lock_customer(session, shop_id, customer_id, skip_locked=True) is None:
                return False
            now = await transactions.now(session)
            expired = await points.expire_lots(session, shop_id, customer_id, now=now)
            if expired:
                transactions.at_commit(session, partial(metrics.POINTS.labels("expired").inc, expired))
                log_customer(session, shop_id, customer_id, ActivityKind.POINTS_EXPIRED, {"points": expired})
                await metafields.mark_stale(session, shop_id, customer_id)
            return expired > 0
