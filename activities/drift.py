"""Drift between the ledger and Shopify: codes nobody paid for, and paid codes that are gone."""

from datetime import timedelta

import structlog
from temporalio import activity

from activities.credentials import store_of
from activities.failures import raise_alarm
from clients.outcomes import VendorError
from clients.shopify import FoundDiscount, Shopify, Store
from database import Sessions
from db import drift, shops
from db.drift import Checked
from db.vault import Vault

# One point of Shopify's rate limit each; a code is looked at again after an hour at the earliest.
AT_A_TIME = 50
AGAIN_AFTER = timedelta(hours=1)

log = structlog.stdlib.get_logger("drift")


class Drift:
    """Compares codes with Shopify."""

    def __init__(self, sessions: Sessions, vault: Vault, shopify: Shopify) -> None:
        self._sessions = sessions
        self._vault = vault
        self._shopify = shopify

    @activity.defn
    async def check_codes(self, _: None) -> int:
        """Look at the codes that were not looked at for longest; returns how many had drifted.

        A live code without a captured debit is deleted. A captured debit without its code is told to the merchant.
        """
        async with self._sessions.begin() as session:
            batch = await drift.next_codes(session, again_after=AGAIN_AFTER, at_most=AT_A_TIME)
        return sum([await self._check(code) for code in batch])

    async def find(self, code: Checked) -> FoundDiscount | None:
        """What Shopify has under this code.

        Raises:
            VendorError: Shopify does not say.
        """
        return await self._shopify.find_discount(await self._store(code), code.code)

    async def _check(self, code: Checked) -> bool:
        try:
            found = await self.find(code)
            if not has_drifted(code, found):
                return False
            if found is None:
                return await self._report(code, "discount_code_missing")
            await self._shopify.delete_discount(await self._store(code), found.id)
            return await self._report(code, "unpaid_discount_code_removed")
        except VendorError as error:
            # Its turn comes again; meanwhile the others are looked at.
            raise_alarm(error)
            whose = {"shop_id": code.shop_id, "redemption_id": code.redemption_id}
            log.warning("a code could not be checked", **whose, reason=error.reason)
            return False

    async def _store(self, code: Checked) -> Store:
        async with self._sessions() as session:
            shop = await shops.shop_by_id(session, code.shop_id)
        return store_of(self._vault, shop)

    async def _report(self, code: Checked, kind: str) -> bool:
        log.error(kind, redemption_id=code.redemption_id, attempt=code.attempt)
        async with self._sessions.begin() as session:
            await drift.report(session, code, kind)
        return True


def has_drifted(code: Checked, found: FoundDiscount | None) -> bool:
    """Whether a paid code is gone, or one can be used that nobody paid for."""
    if code.is_paid:
        return found is None
    return found is not None and found.was_created_for(code.redemption_id) and found.status != "EXPIRED"
