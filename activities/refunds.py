"""Refund a redemption: remove its code first, then return its points.

The points must not be returned while the code can still be used.
"""

from dataclasses import dataclass
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

import metrics
from activities.attempt import Attempt
from activities.credentials import store_of
from clients.outcomes import Unknown
from clients.shopify import Shopify, Store
from database import Sessions
from db import orders, redemptions, refunds, shops, transactions
from db.customers import hold_contact
from db.discount_codes import find_current_code
from db.tables import Redemption, Refund
from db.vault import Vault
from domain.refunds import RefundStatus


@dataclass(frozen=True, kw_only=True)
class CodeToRemove:
    """A code to remove at Shopify. `may_reappear`: its creation was requested more than once."""

    store: Store
    shopify_id: str
    code: str
    may_reappear: bool


class Refunds:
    """Removes codes and refunds points. The refund request is stored before either is called."""

    def __init__(self, sessions: Sessions, vault: Vault, shopify: Shopify) -> None:
        self._sessions = sessions
        self._vault = vault
        self._shopify = shopify

    @activity.defn
    async def remove_discount_code(self, attempt: Attempt) -> bool:
        """Make sure that the captured attempt's code no longer works. False: it was used, by an order that stands.

        It is deactivated first, so that it cannot be used between the count of its uses and its deletion. A code that
        the merchant has deleted counts as removed. A code that may reappear stays, deactivated: while it exists, a
        creation that Shopify commits late is rejected as a duplicate.

        Raises:
            NotExecuted, Refused, Unknown: Shopify's outcome.
        """
        refund = await self._refund(attempt)
        if refund.status is not RefundStatus.PENDING:
            return refund.status is RefundStatus.DONE
        code = await self._code(attempt)
        uses = await self._shopify.deactivate_discount(code.store, code.shopify_id)
        # The use by a cancelled order counts at Shopify for good.
        if uses and refund.order_id is None and await self._refuse(attempt, refund) is RefundStatus.REFUSED:
            return False
        async with self._sessions.begin() as session:
            await refunds.record_code_removal(session, attempt.redemption_id, removed=uses is not None)
        if not code.may_reappear:
            await self._delete(code)
        return True

    @activity.defn
    async def refund_points(self, attempt: Attempt) -> bool:
        """Return to each lot what the captured attempt drew from it, and void the code. False: the code was used.

        A conditional update of the redemption decides between a refund and a use at the same time.
        """
        async with self._sessions.begin() as session:
            _, contact = await hold_contact(session, attempt.shop_id, attempt.customer_id)
            refund = await session.get_one(Refund, attempt.redemption_id)
            may_be_used = await self._has_void_order(session, attempt, refund)
            if await redemptions.refund(session, attempt.redemption_id, attempt.number, may_be_used=may_be_used):
                row = await session.get_one(Redemption, attempt.redemption_id)
                await refunds.complete(session, row, contact=self._vault.seal_contact(contact))
                transactions.at_commit(session, partial(metrics.POINTS.labels("refunded").inc, row.points_spent))
                return True
        status = await self._refuse(attempt, refund)
        # Pending: its order was cancelled meanwhile.
        return await self.refund_points(attempt) if status is RefundStatus.PENDING else status is RefundStatus.DONE

    async def _refuse(self, attempt: Attempt, refund: Refund) -> RefundStatus:
        """Refuse the refund unless it is done, or its order was cancelled since it was read. Returns its status."""
        async with self._sessions.begin() as session:
            await refunds.refuse(session, attempt.redemption_id, order_id=refund.order_id)
        return (await self._refund(attempt)).status

    async def _refund(self, attempt: Attempt) -> Refund:
        async with self._sessions() as session:
            return await session.get_one(Refund, attempt.redemption_id)

    @staticmethod
    async def _has_void_order(session: AsyncSession, attempt: Attempt, refund: Refund) -> bool:
        """Whether the refund is for a cancelled order, and no order that stands has used the code."""
        code = await find_current_code(session, attempt.redemption_id, attempt.number)
        assert code is not None, "a captured redemption has its code"
        return refund.order_id is not None and not await orders.has_other_order(session, code, refund.order_id)

    async def _code(self, attempt: Attempt) -> CodeToRemove:
        async with self._sessions() as session:
            shop = await shops.get_shop(session, attempt.shop_id)
            code = await find_current_code(session, attempt.redemption_id, attempt.number)
        assert code is not None, "a captured redemption has its code"
        assert code.shopify_id is not None, "a captured code has a discount at Shopify"
        # The request that created the code is counted, too.
        return CodeToRemove(
            store=store_of(self._vault, shop),
            shopify_id=code.shopify_id,
            code=code.code,
            may_reappear=code.unknown_outcomes > 1,
        )

    async def _delete(self, code: CodeToRemove) -> None:
        await self._shopify.delete_discount(code.store, code.shopify_id)
        found = await self._shopify.find_discount(code.store, code.code)
        if found is not None and found.id == code.shopify_id:
            raise Unknown("Shopify", "the discount still exists after its deletion")
