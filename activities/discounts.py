"""Create discount codes, and make sure that a released code can never be used."""

from datetime import timedelta
from functools import partial
from typing import Any

from temporalio import activity

import metrics
from activities.attempt import Attempt
from activities.code_requests import CodeRequest, CodeRequests
from clients.outcomes import NotExecuted
from clients.shopify import Shopify
from database import Sessions
from db import captures, discount_codes, redemptions, transactions
from db.captures import AttemptCode
from db.customers import hold_contact
from db.vault import Vault
from domain.discounts import CodeState
from domain.errors import RedemptionClosed
from domain.redemptions import Standing, standing


class Discounts:
    """Generates and voids discount codes."""

    def __init__(self, sessions: Sessions, vault: Vault, shopify: Shopify) -> None:
        self._sessions = sessions
        self._vault = vault
        self._shopify = shopify
        self._codes = CodeRequests(sessions, vault, shopify)

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
        request = await self._codes.prepare(code)
        shopify_id = await self._codes.find_own(request) if code.unknown_outcomes > 1 else None
        if shopify_id is None:
            shopify_id = await self._codes.create(request)
        if not await self._capture(attempt, request, shopify_id):
            await self._shopify.delete_discount(request.store, shopify_id)
            raise RedemptionClosed("the points were released before the code could be captured")
        await self._codes.correct_budget(code)

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
        await self._codes.void(code)
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


def _facts(code: AttemptCode) -> dict[str, Any]:
    """What the activity log keeps of a purchase."""
    reward = {"reward_id": code.reward_id, "reward_name": code.reward_name}
    return {**reward, "points_spent": code.points_spent, "actor": code.actor}


def _ids(attempt: Attempt) -> dict[str, Any]:
    return {"shop_id": attempt.shop_id, "redemption_id": attempt.redemption_id, "attempt": attempt.number}
