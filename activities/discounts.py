"""Create discount codes, and make sure that a released code can never be used.

Shopify has no idempotency key for discounts, so the code serves as one: it is stored before the first call, every call
uses the same code, and the discount is recognised by its fingerprint.
"""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

import metrics
from activities.attempt import Attempt
from activities.credentials import store_of
from activities.shopify_budgets import correct_budget
from clients.outcomes import NotExecuted, Refused, Unknown
from clients.shopify import CodeTaken, FoundDiscount, Shopify, Store
from database import Sessions
from db import captures, discount_codes, redemptions, shops, transactions
from db.captures import AttemptCode
from db.customers import hold_contact
from db.tables import DiscountCode
from db.vault import Vault
from domain.discounts import CodeState, Discount, DiscountType, new_code
from domain.errors import RedemptionClosed
from domain.redemptions import Standing, standing
from domain.reward_terms import PurchaseType, applies_to_of


@dataclass(frozen=True, kw_only=True)
class CodeRequest:
    """One code of one attempt, as it is requested from Shopify. The same on every call."""

    store: Store
    discount: Discount
    code: AttemptCode


class Discounts:
    """Generates and voids discount codes."""

    def __init__(self, sessions: Sessions, vault: Vault, shopify: Shopify) -> None:
        self._sessions = sessions
        self._vault = vault
        self._shopify = shopify

    @activity.defn
    async def generate_discount_code(self, attempt: Attempt) -> None:
        """Create the code at Shopify, then capture. The commit of the capture is the pivot.

        Raises:
            RedemptionClosed: the points are released, or the deadline has passed. A created code is deleted.
            NotExecuted: the attempt's turn in the shop's Shopify budget has not come.
            NotExecuted, Refused, Unknown: Shopify's outcome.
        """
        async with self._sessions() as session:
            # Counted before the call. An earlier request with an unknown outcome may have created the code.
            code = await captures.count_request(session, **_ids(attempt))
        if code is None:
            await self._check_captured(attempt)
            return
        request = await self._request(code)
        shopify_id = await self._find_own(request) if code.unknown_outcomes > 1 else None
        if shopify_id is None:
            shopify_id = await self._create(request)
        if not await self._capture(attempt, request, shopify_id):
            await self._shopify.delete_discount(request.store, shopify_id)
            raise RedemptionClosed("the points were released before the code could be captured")
        await self._correct_budget(code)

    @activity.defn
    async def void_discount_code(self, attempt: Attempt) -> bool:
        """Make sure that the attempt's code does not exist and cannot appear. Runs after the release.

        A creation with an unknown outcome may be committed late. A fence prevents that: a discount with the same code
        that has already expired, so that the late creation is rejected as a duplicate. Without an unknown outcome
        Shopify is not called.
        """
        async with self._sessions.begin() as session:
            row = await discount_codes.find_current_code(session, attempt.redemption_id, attempt.number, locked=True)
            if row is None or row.state is not CodeState.PLANNED:
                return True
            if row.unknown_outcomes == 0:
                row.state = CodeState.VOID
                return True
            code = await captures.find_code(session, **_ids(attempt))
        assert code is not None, "a locked code exists"
        await self._fence(CodeRequest(store=store_of(self._vault, code), discount=_discount(code), code=code))
        async with self._sessions.begin() as session:
            row = await discount_codes.lock_code(session, code.code_id)
            # An overlapping execution can have settled it.
            if row.state is CodeState.PLANNED:
                row.state = CodeState.FENCED
        return True

    async def _check_captured(self, attempt: Attempt) -> None:
        async with self._sessions() as session:
            row = await redemptions.find_redemption(session, attempt.shop_id, attempt.redemption_id)
            if row is None:
                raise RedemptionClosed("there is no reservation")
            match standing(attempt.number, row_attempt=row.attempt, row_status=row.status):
                case Standing.CAPTURED:
                    return
                case Standing.HELD:
                    now = await transactions.now(session)
                    if now >= row.deadline:
                        raise RedemptionClosed("the deadline has passed")
                    code = await discount_codes.find_current_code(session, row.id, row.attempt)
                    if code is None or code.state is not CodeState.PLANNED or code.not_before is None:
                        raise RedemptionClosed("the code was voided")
                    reason = "the purchase waits for its turn in the shop's rate limit"
                    raise NotExecuted("Shopify", reason, retry_after=max(timedelta(), code.not_before - now))
                case _:
                    raise RedemptionClosed("the points were released")

    async def _request(self, code: AttemptCode) -> CodeRequest:
        try:
            return CodeRequest(store=store_of(self._vault, code), discount=_discount(code), code=code)
        except Refused:
            await self._uncount_request(code)
            raise

    async def _uncount_request(self, code: AttemptCode) -> None:
        async with self._sessions.begin() as session:
            row = await discount_codes.lock_code(session, code.code_id)
            row.unknown_outcomes -= 1

    async def _create(self, request: CodeRequest) -> str:
        try:
            return await self._shopify.create_discount(request.store, request.discount)
        except CodeTaken:
            # Possible on a first request too: an earlier one may have been lost with its worker.
            shopify_id = await self._find_own(request)
            if shopify_id is None:
                raise Unknown("Shopify", "the code is taken, but cannot be read yet") from None
            return shopify_id
        except (NotExecuted, Refused):
            await self._uncount_request(request.code)
            await self._correct_budget(request.code)
            raise

    async def _correct_budget(self, code: AttemptCode) -> None:
        await correct_budget(self._sessions, self._shopify, code.shop_id, code.domain, known=code.budget)

    async def _find_own(self, request: CodeRequest) -> str | None:
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

    async def _capture(self, attempt: Attempt, request: CodeRequest, shopify_id: str) -> bool:
        code = request.code
        async with self._sessions.begin() as session:
            # The customer first, like everything that moves points. The lock also makes the balance exact.
            customer_id, contact = await hold_contact(session, attempt.shop_id, attempt.customer_id)
            if customer_id != code.customer_id:
                raise NotExecuted("Shopify", "the customer was merged while the code was created; retrying")
            if await captures.capture(
                session,
                **_ids(attempt),
                code_id=code.code_id,
                shopify_id=shopify_id,
                contact=self._vault.seal_contact(contact),
                facts=_facts(code),
                channels=attempt.channels,
            ):
                transactions.at_commit(session, partial(metrics.POINTS.labels("captured").inc, code.points_spent))
                return True
            row = await discount_codes.lock_code(session, code.code_id)
            # Perhaps captured by an overlapping execution of this activity.
            return row.state is CodeState.LIVE and row.shopify_id == shopify_id

    async def _fence(self, request: CodeRequest) -> None:
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
    session.add(DiscountCode(**ids, code=new_code(prefix)))


def _facts(code: AttemptCode) -> dict[str, Any]:
    """What the activity log keeps of a purchase."""
    reward = {"reward_id": code.reward_id, "reward_name": code.reward_name}
    return {**reward, "points_spent": code.points_spent, "actor": code.actor}


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


def _ids(attempt: Attempt) -> dict[str, Any]:
    return {"shop_id": attempt.shop_id, "redemption_id": attempt.redemption_id, "attempt": attempt.number}
