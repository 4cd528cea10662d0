"""Reissue a code whose order was cancelled or fully refunded: retire the old code, create the new one, then exchange.

The reissue and its new code are stored before any of these is called. The exchange is one transaction. Until then the
customer knows the old code only, which no longer works at Shopify.
"""

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.attempt import Attempt
from activities.code_requests import CodeRequest, CodeRequests
from activities.credentials import store_of
from activities.shopify_budgets import leave_to_purchases
from clients.outcomes import NotExecuted
from clients.shopify import Shopify
from database import Sessions
from db import captures, discount_codes, redemptions, reissues, shops
from db.customers import hold_contact
from db.tables import Redemption, Reissue
from db.vault import Vault
from domain.reissues import ReissueStatus
from domain.shopify_budget import SWEEP_RESERVE


class Reissues:
    """Reissues codes. `attempt.order_id` names the reissue of the redemption."""

    def __init__(self, sessions: Sessions, vault: Vault, shopify: Shopify) -> None:
        self._sessions = sessions
        self._vault = vault
        self._shopify = shopify
        self._codes = CodeRequests(sessions, vault, shopify)

    @activity.defn
    async def retire_discount_code(self, attempt: Attempt) -> bool:
        """Make sure that no order can use the old code any more, before there is a new one. Returns True.

        Shopify may give a code back to the customer when its order is cancelled. It is deactivated, not deleted: a
        creation that Shopify commits late is then rejected as a duplicate.

        Raises:
            NotExecuted, Refused, Unknown: Shopify's outcome.
        """
        async with self._sessions() as session:
            reissue = await reissues.find_reissue(session, attempt.redemption_id, _order(attempt))
            shop = await shops.get_shop(session, attempt.shop_id)
            code = await discount_codes.find_current_code(session, attempt.redemption_id, attempt.number)
        assert reissue is not None, "the reissue is stored before its workflow starts"
        if reissue.status is ReissueStatus.PENDING:
            assert code is not None, "a captured redemption has its code"
            assert code.shopify_id is not None, "a captured code has a discount at Shopify"
            await self._shopify.deactivate_discount(store_of(self._vault, shop), code.shopify_id)
        return True

    @activity.defn
    async def reissue_discount_code(self, attempt: Attempt) -> bool:
        """Create the new code at Shopify, then give it to the redemption in place of the old one. False: refused.

        Raises:
            NotExecuted, Refused, Unknown: Shopify's outcome.
        """
        async with self._sessions() as session:
            # Counted before the call. An earlier request with an unknown outcome may have created the code.
            code = await captures.count_reissue(session, attempt.shop_id, attempt.redemption_id, _order(attempt))
        if code is None:
            return await self._status(attempt) is ReissueStatus.DONE
        request = await self._codes.prepare(code)
        shopify_id = await self._codes.find_own(request) if code.unknown_outcomes > 1 else None
        if shopify_id is None:
            shopify_id = await self._create(request)
        return await self._exchange(attempt, request, shopify_id)

    @activity.defn
    async def void_reissued_code(self, attempt: Attempt) -> bool:
        """Make sure that the new code of a refused reissue does not exist and cannot appear. Returns True.

        Raises:
            NotExecuted, Refused, Unknown: Shopify's outcome.
        """
        async with self._sessions() as session:
            ids = (attempt.shop_id, attempt.redemption_id, _order(attempt))
            code = await captures.find_reissued_code(session, *ids)
        await self._codes.void(code)
        return True

    async def _create(self, request: CodeRequest) -> str:
        """Create the discount, after purchases. No caller waits for it."""
        try:
            leave_to_purchases(request.code.budget, SWEEP_RESERVE)
        except NotExecuted:
            await self._codes.uncount(request.code)
            raise
        return await self._codes.create(request)

    async def _exchange(self, attempt: Attempt, request: CodeRequest, shopify_id: str) -> bool:
        async with self._sessions.begin() as session:
            # The customer first, like everything that moves points. The lock also makes the balance exact.
            customer_id, known = await hold_contact(session, attempt.shop_id, attempt.customer_id)
            if customer_id != request.code.customer_id:
                raise NotExecuted("Shopify", "the customer was merged while the code was created; retrying")
            contact = self._vault.seal_contact(known)
            redemption, reissue = await self._locked(session, attempt)
            if reissue.status is not ReissueStatus.PENDING:
                # An overlapping execution has decided it.
                return reissue.status is ReissueStatus.DONE
            if not await reissues.is_possible(session, redemption, reissue.order_id):
                await reissues.refuse(session, redemption, reissue)
                return False
            await reissues.complete(session, redemption, reissue, shopify_id=shopify_id, contact=contact)
            return True

    async def _locked(self, session: AsyncSession, attempt: Attempt) -> tuple[Redemption, Reissue]:
        redemption = await redemptions.lock_redemption(session, attempt.shop_id, attempt.redemption_id)
        reissue = await reissues.find_reissue(session, attempt.redemption_id, _order(attempt), locked=True)
        assert redemption is not None, "a reissue has its redemption"
        assert reissue is not None, "the reissue is stored before its workflow starts"
        return redemption, reissue

    async def _status(self, attempt: Attempt) -> ReissueStatus:
        async with self._sessions() as session:
            reissue = await reissues.find_reissue(session, attempt.redemption_id, _order(attempt))
        assert reissue is not None, "the reissue is stored before its workflow starts"
        return reissue.status


def _order(attempt: Attempt) -> str:
    assert attempt.order_id is not None, "the attempt names the order of a reissue"
    return attempt.order_id
