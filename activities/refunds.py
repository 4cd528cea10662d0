"""Steps that take a redemption back: its code first, then its points.

A code that still works must never be in the hands of somebody who has the points back.
"""

from dataclasses import dataclass

from temporalio import activity

from activities.attempt import Attempt
from activities.credentials import store_of
from clients.outcomes import Unknown
from clients.shopify import Shopify, Store
from database import Sessions
from db import customers, discount_codes, redemptions, refunds, shops
from db.tables import Redemption, Refund
from db.vault import Vault
from domain.refunds import DONE, PENDING


@dataclass(frozen=True, kw_only=True)
class Target:
    """The code that is to go, and the shop it is in. `may_reappear`: it was asked for more than once."""

    store: Store
    shopify_id: str
    code: str
    may_reappear: bool


class Refunds:
    """Removes codes and gives points back. The refund's row is written before either is called."""

    def __init__(self, sessions: Sessions, vault: Vault, shopify: Shopify) -> None:
        self._sessions = sessions
        self._vault = vault
        self._shopify = shopify

    @activity.defn
    async def remove_discount_code(self, attempt: Attempt) -> bool:
        """Make sure that the captured attempt's code works no more; False when it has been used.

        Deactivated first, so that no use can come between the count of uses and the end of the code. One that the
        merchant has deleted is as good as removed. One that was asked for more than once stays, deactivated: while it
        has the code, a creation that Shopify is late with is refused as a duplicate.

        Raises:
            NotExecuted, Refused, Unknown: what Shopify answered.
        """
        state = await self._state(attempt)
        if state != PENDING:
            return state == DONE
        target = await self._target(attempt)
        uses = await self._shopify.deactivate_discount(target.store, target.shopify_id)
        if uses:
            return await self._refuse(attempt)
        async with self._sessions.begin() as session:
            await refunds.note_code(session, attempt.redemption_id, removed=uses is not None)
        if not target.may_reappear:
            await self._delete(target)
        return True

    @activity.defn
    async def refund_points(self, attempt: Attempt) -> bool:
        """Give back what the captured attempt drew, each lot its own, and void the code; False when it was used.

        The row decides: of this and a use that is told of at the same time exactly one happens.
        """
        async with self._sessions.begin() as session:
            await customers.lock_customer(session, attempt.shop_id, attempt.customer_id)
            if await redemptions.refund(session, attempt.redemption_id, attempt.number):
                await refunds.complete(session, await session.get_one(Redemption, attempt.redemption_id))
                return True
        return await self._refuse(attempt)

    async def _refuse(self, attempt: Attempt) -> bool:
        """Refuse what has not been done; tells whether it has."""
        async with self._sessions.begin() as session:
            await refunds.refuse(session, attempt.redemption_id)
        return await self._state(attempt) == DONE

    async def _state(self, attempt: Attempt) -> str:
        async with self._sessions() as session:
            return (await session.get_one(Refund, attempt.redemption_id)).state

    async def _target(self, attempt: Attempt) -> Target:
        async with self._sessions() as session:
            shop = await shops.shop_by_id(session, attempt.shop_id)
            code = await discount_codes.current_code(session, attempt.redemption_id, attempt.number)
        assert code is not None, "a captured redemption has its code"
        assert code.shopify_id is not None, "and its code is a discount at Shopify"
        # The ask that made the code is counted, too.
        return Target(
            store=store_of(self._vault, shop),
            shopify_id=code.shopify_id,
            code=code.code,
            may_reappear=code.unanswered > 1,
        )

    async def _delete(self, target: Target) -> None:
        await self._shopify.delete_discount(target.store, target.shopify_id)
        left = await self._shopify.find_discount(target.store, target.code)
        if left is not None and left.id == target.shopify_id:
            raise Unknown("Shopify", "the discount is still there after it was deleted")
