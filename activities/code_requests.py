"""Requests for discount codes at Shopify, by purchases and reissues.

Shopify has no idempotency key for discounts, so the code serves as one: it is stored before the first call, every call
uses the same code, and the discount is recognised by its fingerprint.
"""

from dataclasses import dataclass

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from activities.credentials import store_of
from activities.shopify_budgets import correct_budget
from clients.outcomes import NotExecuted, Refused, Unknown
from clients.shopify import CodeTaken, FoundDiscount, Shopify, Store
from database import Sessions
from db import discount_codes, shops
from db.captures import AttemptCode
from db.tables import DiscountCode, Reissue
from db.vault import Vault
from domain.discounts import CodeState, Discount, DiscountType, new_code
from domain.errors import RedemptionClosed
from domain.reward_terms import PurchaseType, applies_to_of


@dataclass(frozen=True, kw_only=True)
class CodeRequest:
    """One code of one attempt, as it is requested from Shopify. The same on every call."""

    store: Store
    discount: Discount
    code: AttemptCode


class CodeRequests:
    """Creates and fences discounts. Each request is counted before the call, as its outcome can be unknown."""

    def __init__(self, sessions: Sessions, vault: Vault, shopify: Shopify) -> None:
        self._sessions = sessions
        self._vault = vault
        self._shopify = shopify

    def request(self, code: AttemptCode) -> CodeRequest:
        return CodeRequest(store=store_of(self._vault, code), discount=_discount(code), code=code)

    async def prepare(self, code: AttemptCode) -> CodeRequest:
        """The request for a code that was counted. Raises `Refused` if the shop has no credentials."""
        try:
            return self.request(code)
        except Refused:
            await self.uncount(code)
            raise

    async def uncount(self, code: AttemptCode) -> None:
        """Take back the count of a request that was surely not executed."""
        async with self._sessions.begin() as session:
            row = await discount_codes.lock_code(session, code.code_id)
            row.unknown_outcomes -= 1

    async def create(self, request: CodeRequest) -> str:
        """Create the discount, or adopt the one of an earlier request. Returns its gid.

        Raises:
            NotExecuted, Refused, Unknown: Shopify's outcome.
            RedemptionClosed: the code is fenced.
        """
        try:
            return await self._shopify.create_discount(request.store, request.discount)
        except CodeTaken:
            # Possible on a first request too: an earlier one may have been lost with its worker.
            shopify_id = await self.find_own(request)
            if shopify_id is None:
                raise Unknown("Shopify", "the code is taken, but cannot be read yet") from None
            return shopify_id
        except (NotExecuted, Refused):
            await self.uncount(request.code)
            await self.correct_budget(request.code)
            raise

    async def correct_budget(self, code: AttemptCode) -> None:
        """Store what Shopify's answer says of the shop's budget, if that refutes the known one."""
        await correct_budget(self._sessions, self._shopify, code.shop_id, code.domain, known=code.budget)

    async def find_own(self, request: CodeRequest) -> str | None:
        """Id of the discount that an earlier request created. None: there is none."""
        found = await self._shopify.find_discount(request.store, request.discount.code)
        if found is None:
            return None
        if found.matches(request.discount):
            return found.id
        await self._release_code(request, found)
        raise NotExecuted("Shopify", "another discount has this code; retrying with a new code")

    async def _release_code(self, request: CodeRequest, found: FoundDiscount) -> None:
        if found.is_fence_of(request.discount):
            raise RedemptionClosed("the code is fenced")
        if found.was_created_for(request.discount.redemption_id):
            # Created for this redemption, but changed since. The customer does not have it, so it can be replaced.
            await self._shopify.delete_discount(request.store, found.id)
            return
        async with self._sessions.begin() as session:
            code = await discount_codes.lock_code(session, request.code.code_id)
            if code.state is CodeState.PLANNED:
                shop = await shops.get_shop(session, code.shop_id)
                await _replace(session, code, prefix=shop.code_prefix)

    async def void(self, code: AttemptCode) -> None:
        """Make sure that a code which is no longer requested does not exist and cannot appear.

        Raises:
            NotExecuted, Refused, Unknown: Shopify's outcome.
        """
        if code.unknown_outcomes:
            await self._fence(self.request(code))
        async with self._sessions.begin() as session:
            row = await discount_codes.lock_code(session, code.code_id)
            # An overlapping execution can have settled it.
            if row.state is CodeState.PLANNED:
                row.state = CodeState.FENCED if code.unknown_outcomes else CodeState.VOID

    async def _fence(self, request: CodeRequest) -> None:
        """Delete the discount if it exists, and block its code, so that a late creation is rejected."""
        found = await self._shopify.find_discount(request.store, request.discount.code)
        if found is not None and found.was_created_for(request.discount.redemption_id):
            await self._shopify.delete_discount(request.store, found.id)
        elif found is not None:
            # Our fence, or another discount: a late creation is rejected either way.
            return
        try:
            await self._shopify.fence_code(request.store, request.discount)
        except CodeTaken:
            raise Unknown("Shopify", "the code appeared while it was being fenced; retrying") from None


async def _replace(session: AsyncSession, code: DiscountCode, *, prefix: str) -> None:
    code.state = CodeState.FOREIGN
    await session.flush()
    ids = {"shop_id": code.shop_id, "redemption_id": code.redemption_id, "attempt": code.attempt}
    replacement = DiscountCode(**ids, code=new_code(prefix), is_current=code.is_current)
    session.add(replacement)
    await session.flush()
    await session.execute(update(Reissue).where(Reissue.code_id == code.id).values(code_id=replacement.id))


def _discount(code: AttemptCode) -> Discount:
    return Discount(
        code=code.code,
        redemption_id=code.redemption_id,
        title=code.reward_name,
        type=DiscountType(code.discount_type),
        currency=code.currency,
        amount=code.discount_amount,
        minimum_spend=code.minimum_spend,
        product_variant_id=code.product_variant_id,
        customer_id=code.customer_id,
        starts_at=code.created_at,
        ends_at=code.expires_at,
        combines_with=tuple(code.combines_with),
        applies_to=applies_to_of(code.applies_to),
        purchase_type=None if code.purchase_type is None else PurchaseType(code.purchase_type),
        billing_cycles=code.billing_cycles,
    )
