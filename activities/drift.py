"""Drift between ledger and Shopify: usable codes without a debit, and debits without a code."""

from datetime import timedelta

import structlog
from temporalio import activity

import metrics
from activities.credentials import store_of
from activities.failures import raise_alarm
from activities.shopify_budgets import leave_to_purchases
from clients.outcomes import VendorError
from clients.shopify import FoundDiscount, Shopify, Store
from database import Sessions
from db import discount_codes, shops
from db.activity_log import log_redemption
from db.discount_codes import ComparableCode
from db.shopify_budgets import find_budget
from db.vault import Vault
from domain.activity_log import ActivityKind
from domain.shopify_budget import SWEEP_RESERVE

# Each comparison costs one point of Shopify's rate limit.
BATCH_SIZE = 50
COMPARED_EVERY = timedelta(hours=1)

log = structlog.stdlib.get_logger("drift")


class Drift:
    """Compares discount codes with Shopify."""

    def __init__(self, sessions: Sessions, vault: Vault, shopify: Shopify) -> None:
        self._sessions = sessions
        self._vault = vault
        self._shopify = shopify

    @activity.defn
    async def check_codes(self, _: None) -> int:
        """Compare the codes that were not compared for longest; returns how many have drifted.

        An unpaid code is deleted at Shopify. A paid code that is missing is reported in the activity log.
        """
        async with self._sessions.begin() as session:
            batch = await discount_codes.next_comparable_codes(
                session, compared_before=COMPARED_EVERY, limit=BATCH_SIZE
            )
        return sum([await self._check(code) for code in batch])

    async def find(self, code: ComparableCode) -> FoundDiscount | None:
        """The discount that has this code at Shopify.

        Raises:
            VendorError: Shopify did not answer the question.
        """
        return await self._shopify.find_discount(await self._store(code), code.code)

    async def _check(self, code: ComparableCode) -> bool:
        try:
            async with self._sessions() as session:
                leave_to_purchases(await find_budget(session, code.shop_id), SWEEP_RESERVE)
            found = await self.find(code)
            if not has_drifted(code, found):
                return False
            if found is None:
                metrics.DRIFT_FOUND.labels("code_missing").inc()
                return await self._report(code, ActivityKind.CODE_MISSING)
            metrics.DRIFT_FOUND.labels("unpaid_code").inc()
            await self._shopify.delete_discount(await self._store(code), found.id)
            metrics.DRIFT_SETTLED.labels("unpaid_code").inc()
            return await self._report(code, ActivityKind.UNPAID_CODE_REMOVED)
        except VendorError as error:
            # Compared again with a later batch. The other codes must not wait.
            ids: dict[str, int | str] = {"shop_id": code.shop_id, "redemption_id": code.redemption_id}
            raise_alarm(error, **ids)
            log.warning("code not compared", **ids, reason=error.reason)
            return False

    async def _store(self, code: ComparableCode) -> Store:
        async with self._sessions() as session:
            shop = await shops.get_shop(session, code.shop_id)
        return store_of(self._vault, shop)

    async def _report(self, code: ComparableCode, kind: ActivityKind) -> bool:
        log.error(kind, shop_id=code.shop_id, redemption_id=code.redemption_id, attempt=code.attempt)
        async with self._sessions.begin() as session:
            log_redemption(session, code, kind, {"attempt": code.attempt})
        return True


def has_drifted(code: ComparableCode, found: FoundDiscount | None) -> bool:
    """Whether a paid code is missing, or an unpaid code can be used."""
    if code.is_paid:
        return found is None
    return found is not None and found.was_created_for(code.redemption_id) and not found.is_expired
