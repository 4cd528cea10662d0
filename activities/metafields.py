"""Write the metafields that are marked as stale."""

import asyncio
from datetime import timedelta
from itertools import groupby
from operator import attrgetter

import structlog
from temporalio import activity

from activities.failures import raise_alarm
from activities.senders import MetafieldsSender
from clients.outcomes import NoRecipient, NotExecuted, Refused, Unknown
from database import Sessions
from db import metafields
from db.metafields import Stale

SHOPS_PER_BATCH = 10
CUSTOMERS_PER_SHOP = 100
# A shop's metafields are written one after the other, so that most of its Shopify rate limit is left to purchases.
TIME_PER_SHOP = timedelta(seconds=20)
# Longer than a batch, so that no customer is written twice at a time.
RETRY_AFTER = timedelta(minutes=1)

log = structlog.stdlib.get_logger("metafields")


class Metafields:
    """Writes stale metafields."""

    def __init__(self, sessions: Sessions, sender: MetafieldsSender) -> None:
        self._sessions = sessions
        self._sender = sender

    @activity.defn
    async def sync_metafields(self, _: None) -> int:
        """Write a batch of stale metafields, shops in parallel; returns how many were written.

        A metafield that cannot be written stays marked and is retried with a later batch.
        """
        async with self._sessions.begin() as session:
            due = await metafields.next_stale(
                session, shops=SHOPS_PER_BATCH, per_shop=CUSTOMERS_PER_SHOP, retry_after=RETRY_AFTER
            )
        by_shop = groupby(sorted(due, key=attrgetter("shop_id", "changed_at")), key=attrgetter("shop_id"))
        return sum(await asyncio.gather(*(self._sync_shop(list(stale)) for _, stale in by_shop)))

    async def _sync_shop(self, due: list[Stale]) -> int:
        written = 0
        try:
            async with asyncio.timeout(TIME_PER_SHOP.total_seconds()):
                for stale in due:
                    written += await self._sync(stale)
        except (NotExecuted, Refused) as error:
            # The shop's other customers would get the same answer.
            raise_alarm(error, shop_id=due[0].shop_id)
            _log(due[0], "metafields of a shop not written", error.reason)
        except TimeoutError:
            _log(due[0], "metafields of a shop not all written", "out of time, left to the next batch")
        return written

    async def _sync(self, stale: Stale) -> bool:
        try:
            await self._sender.write(stale.shop_id, stale.customer_id)
        except Unknown as error:
            _log(stale, "metafield write has unknown outcome", error.reason)
            return False
        except Refused as error:
            if error.alarm:
                raise
            # For example the customer no longer exists at Shopify. A retry would be rejected again.
            _log(stale, "metafield rejected", error.reason)
        except NoRecipient as error:
            _log(stale, "metafield not written", error.reason)
        async with self._sessions.begin() as session:
            await metafields.clear_stale(session, stale)
        return True


def _log(stale: Stale, event: str, reason: str) -> None:
    log.warning(event, shop_id=stale.shop_id, customer_id=stale.customer_id, reason=reason)
