"""Steps of the round that closes what has had its time: points that nobody spent, codes that nobody used."""

from temporalio import activity

from database import Sessions
from db import customers, metafields, points, redemptions, transactions
from db.tables import ActivityLog

# A few seconds' work each; so many lots may be as many customers.
LOTS_AT_A_TIME = 200
REDEMPTIONS_AT_A_TIME = 1000


class Expiry:
    """Expires points and redemptions. Each step does a part of what is due, and tells how much; 0 ends the round."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @activity.defn
    async def expire_points(self, _: None) -> int:
        """Empty the lots that ran out longest ago; returns how many customers had some.

        No balance moves: an expired lot has not counted since the instant it expired.
        """
        async with self._sessions() as session:
            now = await transactions.now(session)
            owners = await points.owners_of_expired_lots(session, now=now, lots=LOTS_AT_A_TIME)
        return sum([await self._expire(*owner) for owner in owners])

    @activity.defn
    async def expire_redemptions(self, _: None) -> int:
        """Close redemptions whose code has ended and will come in no order any more; returns how many."""
        async with self._sessions.begin() as session:
            now = await transactions.now(session)
            return await redemptions.expire(session, now=now, at_most=REDEMPTIONS_AT_A_TIME)

    async def _expire(self, shop_id: int, customer_id: str) -> bool:
        async with self._sessions.begin() as session:
            # A customer who is buying, or being imported, is left to the next round rather than waited for.
            if await customers.lock_customer(session, shop_id, customer_id, if_free=True) is None:
                return False
            now = await transactions.now(session)
            expired = await points.expire_lots(session, shop_id, customer_id, now=now)
            if expired:
                whose = {"shop_id": shop_id, "customer_id": customer_id}
                session.add(ActivityLog(**whose, kind="points_expired", facts={"points": expired}))
                await metafields.mark_stale(session, shop_id, customer_id)
            return expired > 0
