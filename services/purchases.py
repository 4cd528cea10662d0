"""Purchases: each idempotency key buys once, however often the request is repeated."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.common import WorkflowIDReusePolicy

from activities.attempt import Attempt
from database import Sessions
from db import customers, discount_codes, idempotency, redemptions, rewards, shops, transactions
from db.idempotency import DecidedAnswer
from db.tables import IdempotencyKey, Redemption, Shop
from domain.eligibility import Member, Refusal, refusals
from domain.ids import new_redemption_id, purchase_workflow_id
from domain.redemptions import RedemptionStatus
from services.gateway import PAUSE_SECONDS, Gateway, WorkflowRequest
from services.idempotency import Reply, claim_key, stored_answer
from workflows.current_details import static_details
from workflows.outcomes import PurchaseAnswer, PurchaseOutcome
from workflows.progress import Stage
from workflows.redeem_reward import RedeemReward

Result = TypeVar("Result")

# Time to wait beyond the deadline, at which the workflow releases the points before it answers.
GRACE = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class Purchased:
    """A captured redemption and its discount code."""

    redemption: Redemption
    code: str | None


@dataclass(frozen=True, kw_only=True)
class Purchase:
    """A requested purchase. `render` makes the answer that is stored with the idempotency key."""

    shop: Shop
    key: str
    reward_id: str
    customer_identifier: str
    render: Callable[[Purchased | Refusal], DecidedAnswer]


class PurchaseUnavailable(Exception):
    """Nothing was purchased, and the next request with the key makes a new attempt. `for_shopify`: the cause."""

    def __init__(self, *, for_shopify: bool) -> None:
        super().__init__("the purchase was not completed")
        self.for_shopify = for_shopify


class Purchases:
    """Purchases rewards."""

    def __init__(self, sessions: Sessions, gateway: Gateway, *, deadline: timedelta) -> None:
        self._sessions = sessions
        self._gateway = gateway
        self._deadline = deadline

    async def purchase(self, purchase: Purchase) -> Reply:
        """Purchase, or repeat the stored answer. Raises `IdempotencyKeyReused` or `PurchaseUnavailable`."""
        claim, is_new = await self._claim(purchase)
        if stored := stored_answer(claim):
            return Reply(answer=stored, replayed=not is_new)
        if await self._is_captured(purchase.shop, claim.redemption_id):
            answer = PurchaseAnswer(outcome=PurchaseOutcome.PURCHASED)
        else:
            answer = await self._gateway.answer(await self._workflow(purchase, claim))
        # The purchase may have happened, so its answer is not lost to a restart of the database.
        return await _retried(lambda: self._conclude(purchase, claim, answer))

    async def _claim(self, purchase: Purchase) -> tuple[IdempotencyKey, bool]:
        fingerprint = idempotency.request_fingerprint(purchase.reward_id, purchase.customer_identifier)
        async with self._sessions.begin() as session:
            claim, is_new = await claim_key(session, purchase.shop, purchase.key, fingerprint, new_redemption_id())
            if is_new:
                await self._resolve(session, purchase, claim)
        return claim, is_new

    async def _resolve(self, session: AsyncSession, purchase: Purchase, claim: IdempotencyKey) -> None:
        """Store the customer with the key. If customer or reward do not exist, decide: no workflow is started.

        Only in the transaction that writes the key: later the result could differ while a workflow is running.
        """
        shop_id = purchase.shop.id
        customer = await customers.find_customer(session, shop_id, purchase.customer_identifier)
        reward = await rewards.find_active_reward(session, shop_id, purchase.reward_id)
        if customer is not None and reward is not None:
            claim.customer_id = customer.id
            return
        member = customer and Member(excluded=customer.excluded, vip_tier_id=customer.vip_tier_id, points=0)
        answer = purchase.render(next(refusals(member, None)))
        claim.status, claim.body = answer.status, answer.body

    async def _conclude(self, purchase: Purchase, claim: IdempotencyKey, answer: PurchaseAnswer | None) -> Reply:
        """Decide from the workflow's answer, or from the redemption's row if there is none."""
        if answer is not None and answer.refusal is not None:
            return await self._decide(purchase, answer.refusal)
        if answer is None:
            await self._wait_until_decided(purchase.shop, claim)
        if await self._is_captured(purchase.shop, claim.redemption_id):
            return await self._decide(purchase, await self._purchased(purchase.shop, claim.redemption_id))
        async with self._sessions.begin() as session:
            await idempotency.start_next_attempt(session, purchase.shop.id, purchase.key, claim.attempt)
        for_shopify = answer is not None and answer.outcome is PurchaseOutcome.SHOPIFY_UNAVAILABLE
        raise PurchaseUnavailable(for_shopify=for_shopify)

    async def _decide(self, purchase: Purchase, outcome: Purchased | Refusal) -> Reply:
        async with self._sessions.begin() as session:
            stored = await idempotency.store_answer(session, purchase.shop.id, purchase.key, purchase.render(outcome))
        return Reply(answer=stored, replayed=False)

    async def _wait_until_decided(self, shop: Shop, claim: IdempotencyKey) -> None:
        """Wait until the redemption is no longer pending, or until its deadline, after which it cannot be captured.

        An activity can run to its end in the worker although its workflow is closed.
        """
        while True:
            async with self._sessions() as session:
                row = await redemptions.find_redemption(session, shop.id, claim.redemption_id)
                if row is None or row.status is not RedemptionStatus.PENDING:
                    return
                if await transactions.now(session) > row.deadline:
                    return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _is_captured(self, shop: Shop, redemption_id: str) -> bool:
        async with self._sessions() as session:
            row = await redemptions.find_redemption(session, shop.id, redemption_id)
            return row is not None and row.status.is_captured

    async def _workflow(self, purchase: Purchase, claim: IdempotencyKey) -> WorkflowRequest[PurchaseAnswer]:
        shop = purchase.shop
        assert claim.customer_id is not None, "an undecided key has its customer"
        async with self._sessions() as session:
            reward = await rewards.find_active_reward(session, shop.id, purchase.reward_id)
            attempt = Attempt(
                shop_id=shop.id,
                shop_domain=shop.domain,
                redemption_id=claim.redemption_id,
                number=claim.attempt,
                customer_id=claim.customer_id,
                reward_id=purchase.reward_id,
                deadline=await transactions.now(session) + self._deadline,
                channels=await shops.channels_of(session, shop),
            )
        return WorkflowRequest(
            id=purchase_workflow_id(attempt.redemption_id, attempt.number),
            run=RedeemReward.run,
            answer=RedeemReward.answer,
            attempt=attempt,
            stage=Stage.REDEEMING,
            # The default would start a second purchase once the first workflow is closed.
            reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            timeout=self._deadline + GRACE,
            summary=f"{reward.points_cost} points → {reward.name}" if reward else purchase.reward_id,
            details=static_details(attempt),
        )

    async def _purchased(self, shop: Shop, redemption_id: str) -> Purchased:
        async with self._sessions() as session:
            row = await redemptions.find_redemption(session, shop.id, redemption_id)
            assert row is not None, "a captured redemption has a row"
            return Purchased(redemption=row, code=await discount_codes.customer_code(session, row))


async def _retried(work: Callable[[], Awaitable[Result]]) -> Result:
    """Retry for about 20 s while the database is unreachable. `work` must be safe to repeat."""
    for pause in (0.25, 0.5, 1, 2, 4, 4, 4):
        try:
            return await work()
        except (OSError, SQLAlchemyError) as error:
            if not transactions.is_unreachable(error):
                raise
            await asyncio.sleep(pause)
    return await work()
