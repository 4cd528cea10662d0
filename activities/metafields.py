"""The step that tells shops' themes what changed outside a redemption."""

import asyncio
from datetime import timedelta
from itertools import groupby
from operator import attrgetter

import structlog
from temporalio import activity

from activities.failures import raise_alarm
from activities.senders import MetafieldsSender
from clients.outcomes import NotExecuted, Refused, Unknown
from database import Sessions
from db import metafields
from db.metafields import Stale

SHOPS = 10
OF_EACH_SHOP = 100
# One write after the other, so that a shop's purchases always find most of Shopify's rate limit unused.
TURN = timedelta(seconds=20)
# Longer than a turn, so that nobody is written twice at a time.
AGAIN_AFTER = timedelta(minutes=1)

log = structlog.stdlib.get_logger("metafields")


class Metafields:
    """Writes the metafields that were marked as stale."""

    def __init__(self, sessions: Sessions, sender: MetafieldsSender) -> None:
        self._sessions = sessions
        self._sender = sender

    @activity.defn
    async def sync_metafields(self, _: None) -> int:
        """Write metafields that are due, shops side by side; returns how many were written.

        What cannot be written now stays marked, and is tried again in a later round.
        """
        async with self._sessions.begin() as session:
            due = await metafields.next_stale(session, shops=SHOPS, of_each=OF_EACH_SHOP, again_after=AGAIN_AFTER)
        by_shop = groupby(sorted(due, key=attrgetter("shop_id", "changed_at")), key=attrgetter("shop_id"))
        return sum(await asyncio.gather(*(self._sync_shop(list(stale)) for _, stale in by_shop)))

    async def _sync_shop(self, due: list[Stale]) -> int:
        written = 0
        try:
            async with asyncio.timeout(TURN.total_seconds()):
                for stale in due:
                    written += await self._sync(stale)
        except (NotExecuted, Refused) as error:
            # The shop's other customers would hear the same.
            raise_alarm(error)
            _log(due[0], "a shop's metafields cannot be written", error.reason)
        except TimeoutError:
            _log(due[0], "a shop's metafields take longer than a turn", "the rest is left to the next")
        return written

    async def _sync(self, stale: Stale) -> bool:
        try:
            await self._sender.write(stale.shop_id, stale.customer_id)
        except Unknown as error:
            _log(stale, "a metafield may not have been written", error.reason)
            return False
        except Refused as error:
            if error.alarm:
                raise
            # The customer is gone from Shopify, say: asking again would not help, another change may.
            _log(stale, "a metafield was refused", error.reason)
        async with self._sessions.begin() as session:
            await metafields.clear_stale(session, stale)
        return True


def _log(stale: Stale, what: str, reason: str) -> None:
    log.warning(what, shop_id=stale.shop_id, customer_id=stale.customer_id, reason=reason)
