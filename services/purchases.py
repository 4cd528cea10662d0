"""Purchases: each idempotency key buys once, however often the request is repeated."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TypeVar

from opentelemetry import trace
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.contextvars import bind_contextvars
from temporalio.common import WorkflowIDReusePolicy

import metrics
from activities.attempt import Attempt
from database import Sessions
from db import claims, discount_codes, idempotency, redemptions, shops, transactions
from db.claims import Claim
from db.idempotency import DecidedAnswer
from db.tables import FailedAttempt, Redemption, Shop
from domain.eligibility import Member, Refusal, refusals
from domain.failures import FailureCode
from domain.ids import new_redemption_id, purchase_workflow_id
from domain.redemptions import RedemptionStatus
from services.admission import Admission, NotAdmitted
from services.capture_listener import CaptureListener
from services.gateway import PAUSE_SECONDS, UPDATE_ID, Gateway, WorkflowRequest
from services.idempotency import IdempotencyKeyReused, Reply
from workflows.current_details import static_details
from workflows.outcomes import PurchaseAnswer, PurchaseOutcome
from workflows.progress import Stage
from workflows.redeem_reward import RedeemReward

Result = TypeVar("Result")

# Time to wait beyond the deadline, at which the workflow releases the points before it answers.
GRACE = timedelta(seconds=5)

# Share of the deadline that a purchase waits for its admission. The rest is for the purchase itself.
WAITING = 0.8


@dataclass(frozen=True, kw_only=True)
class Purchased:
    """A captured redemption and its discount code. `shopify_time`: how much of the purchase's time Shopify took."""

    redemption: Redemption
    code: str
    shopify_time: timedelta


@dataclass(frozen=True, kw_only=True)
class Purchase:
    """A requested purchase.

    Attributes:
        key_is_made: the client sent no key.
        render: makes the answer that is stored with the key.
        request_id: finds the redemption of a new key.
        points_to_spend: as the customer chose it, for a reward with variable pricing.
        is_queued: the client prefers an answer without the code, once the points are reserved.
    """

    shop: Shop
    key: str
    key_is_made: bool
    reward_id: str
    customer_identifier: str
    actor: str
    render: Callable[[Purchased | Refusal | FailureCode], DecidedAnswer]
    request_id: str
    points_to_spend: int | None = None
    is_queued: bool = False

    @property
    def fingerprint(self) -> bytes:
        chosen = [] if self.points_to_spend is None else [str(self.points_to_spend)]
        return idempotency.request_fingerprint(self.reward_id, self.customer_identifier, *chosen)


@dataclass(frozen=True, kw_only=True)
class Queued:
    """A purchase that has reserved its points and waits for its turn at Shopify.

    Attributes:
        position: among the shop's purchases that wait, from 1.
        wait: until its turn. 0: it is in progress.
    """

    redemption: Redemption
    position: int
    wait: timedelta


class PurchaseUnavailable(Exception):
    """Nothing was purchased, and the next request with the key makes a new attempt.

    Attributes:
        for_shopify: the cause.
        retry_after: when it can succeed. None: unknown.
    """

    def __init__(self, *, for_shopify: bool, retry_after: timedelta | None = None) -> None:
        super().__init__("the purchase was not completed")
        self.for_shopify = for_shopify
        self.retry_after = retry_after


class PurchaseRejected(Exception):
    """Nothing was purchased, as Shopify rejects the discount. A retry fails too, for `REJECTION_KEPT` at once."""


class Purchases:
    """Purchases rewards."""

    def __init__(
        self,
        sessions: Sessions,
        gateway: Gateway,
        admission: Admission,
        captures: CaptureListener,
        *,
        deadline: timedelta,
        queued_deadline: timedelta,
    ) -> None:
        self._sessions = sessions
        self._gateway = gateway
        self._admission = admission
        self._captures = captures
        self._deadline = deadline
        self._queued_deadline = queued_deadline
        self._calls: set[asyncio.Future[PurchaseAnswer | None]] = set()
        """Keeps calls from garbage collection that end after their purchase is answered."""

    async def purchase(self, purchase: Purchase) -> Reply | Queued:
        """Purchase, or repeat the stored answer.

        Raises `IdempotencyKeyReused`, `WrongSpending`, `PurchaseRejected` or `PurchaseUnavailable`.
        """
        began = time.monotonic()
        try:
            # Queued purchases do not pause: they would come slower than Shopify grants codes.
            place = self._admission.place(
                purchase.shop.id, within=self._deadline * WAITING, pauses=not purchase.is_queued
            )
            async with place:
                admitted = time.monotonic()
                with metrics.PURCHASES_ADMITTED.track_inprogress():
                    reply = await self._purchase(purchase, self._deadline - timedelta(seconds=admitted - began))
                if isinstance(reply, Reply) and reply.answer.status == HTTPStatus.CREATED and not reply.replayed:
                    self._admission.observe(purchase.shop.id, timedelta(seconds=time.monotonic() - admitted))
                return reply
        except NotAdmitted as error:
            raise PurchaseUnavailable(for_shopify=False, retry_after=error.retry_after) from None

    async def _purchase(self, purchase: Purchase, time_left: timedelta) -> Reply | Queued:
        claim = await self._claim(purchase)
        if (answered := idempotency.stored_answer(claim.status, claim.body)) is not None:
            return Reply(answer=answered, replayed=True)
        if claim.customer_id is None:
            return await self._refuse_unknown(purchase, claim)
        if claim.is_rejected and not claim.is_queued:
            raise PurchaseRejected
        answer = None
        if claim.is_captured:
            answer = PurchaseAnswer(outcome=PurchaseOutcome.PURCHASED)
        elif not claim.is_queued:
            workflow = self._workflow(purchase, claim, claim.customer_id, time_left)
            answer = await self._answer(workflow)
        # The purchase may have happened, so its answer is not lost to a restart of the database.
        return await _retried(lambda: self._conclude(purchase, claim, answer))

    async def _answer(self, workflow: WorkflowRequest[PurchaseAnswer]) -> PurchaseAnswer | None:
        """The workflow's answer. A captured purchase is answered before its workflow reports it."""
        with self._captures.expect(workflow.attempt.redemption_id) as captured:
            call = asyncio.ensure_future(self._gateway.answer(workflow))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            await asyncio.wait((call, captured), return_when=asyncio.FIRST_COMPLETED)
        if not captured.done():
            return await call
        # Not at once: Temporal would count a failed request for every purchase.
        asyncio.get_running_loop().call_later(GRACE.total_seconds(), call.cancel)
        return PurchaseAnswer(outcome=PurchaseOutcome.PURCHASED)

    async def _claim(self, purchase: Purchase) -> Claim:
        async with self._sessions() as session:
            claim = await claims.claim_purchase(
                session,
                purchase.shop.id,
                key=purchase.key,
                key_is_made=purchase.key_is_made,
                fingerprint=purchase.fingerprint,
                redemption_id=new_redemption_id(),
                request_id=purchase.request_id,
                customer_identifier=purchase.customer_identifier,
                reward_id=purchase.reward_id,
                actor=purchase.actor,
                points_to_spend=purchase.points_to_spend,
            )
        if claim.fingerprint != purchase.fingerprint:
            raise IdempotencyKeyReused
        workflow_id = purchase_workflow_id(claim.redemption_id, claim.attempt)
        bind_contextvars(redemption_id=claim.redemption_id, workflow_id=workflow_id)
        trace.get_current_span().set_attribute("pointsaga.redemption_id", claim.redemption_id)
        return claim

    async def _refuse_unknown(self, purchase: Purchase, claim: Claim) -> Reply:
        """Refuse without a workflow, as customer or reward did not exist when the key was claimed.

        A request with this key can find them at the same time, and purchase. Then this one must not decide the key.
        """
        member = None
        if claim.excluded is not None:
            member = Member(excluded=claim.excluded, vip_tier_id=None, points=0)
        answer = purchase.render(next(refusals(member, None)))
        async with self._sessions() as session:
            stored = await idempotency.store_refusal(session, purchase.shop.id, purchase.key, answer)
        if stored is None:
            raise PurchaseUnavailable(for_shopify=False)
        return Reply(answer=stored, replayed=False)

    async def _conclude(self, purchase: Purchase, claim: Claim, answer: PurchaseAnswer | None) -> Reply | Queued:
        """Decide from the workflow's answer, or from the redemption's row if there is none."""
        if answer is not None and answer.refusal is not None:
            return await self._decide(purchase, answer.refusal)
        if answer is None:
            await self._wait_until_decided(purchase.shop, claim)
        found = await self._find_purchased(purchase.shop, claim.redemption_id)
        found = found or await self._find_queued(purchase.shop, claim)
        if isinstance(found, Queued):
            return found
        if found is not None:
            return await self._decide(purchase, found)
        is_permanent = answer is not None and answer.is_permanent
        async with self._sessions() as session:
            if is_permanent:
                await redemptions.record_rejection(session, claim.redemption_id, claim.attempt)
            await idempotency.start_next_attempt(session, purchase.shop.id, purchase.key, claim.attempt)
        if is_permanent:
            raise PurchaseRejected
        for_shopify = answer is not None and answer.outcome is PurchaseOutcome.SHOPIFY_UNAVAILABLE
        raise PurchaseUnavailable(for_shopify=for_shopify, retry_after=answer and answer.retry_after)

    async def _decide(self, purchase: Purchase, outcome: Purchased | Refusal | FailureCode) -> Reply:
        async with self._sessions() as session:
            stored = await idempotency.store_answer(session, purchase.shop.id, purchase.key, purchase.render(outcome))
        return Reply(answer=stored, replayed=False)

    async def _find_queued(self, shop: Shop, claim: Claim) -> Queued | Purchased | FailureCode | None:
        """The queued purchase, or why it has failed. None: the attempt is no queued one."""
        async with self._sessions() as session:
            row = await redemptions.find_redemption(session, shop.id, claim.redemption_id)
            if row is None or not row.is_queued or row.attempt != claim.attempt:
                return None
            if row.status.is_captured:
                return await self._find_purchased(shop, row.id)
            if row.status is RedemptionStatus.FAILED:
                return await self._failure(session, row)
            code = await discount_codes.find_current_code(session, row.id, row.attempt)
            position = 1 if code is None else await discount_codes.queue_position(session, code)
            turn, now = code and code.not_before, await transactions.now(session)
        return Queued(redemption=row, position=position, wait=max(timedelta(), (turn or now) - now))

    async def _failure(self, session: AsyncSession, row: Redemption) -> FailureCode:
        failed = await session.get(FailedAttempt, (row.id, row.attempt))
        code = FailureCode.ENGINE_UNAVAILABLE if failed is None else FailureCode(failed.code)
        if code is FailureCode.REQUEST_REJECTED:
            await redemptions.record_rejection(session, row.id, row.attempt)
        return code

    async def _wait_until_decided(self, shop: Shop, claim: Claim) -> None:
        """Wait until the redemption is no longer pending, or until its deadline, after which it cannot be captured.

        A queued one is not waited for.

        An activity can run to its end in the worker although its workflow is closed.
        """
        while True:
            async with self._sessions() as session:
                row = await redemptions.find_redemption(session, shop.id, claim.redemption_id)
                if row is None or row.is_queued or row.status is not RedemptionStatus.PENDING:
                    return
                if await transactions.now(session) > row.deadline:
                    return
            await asyncio.sleep(PAUSE_SECONDS)

    def _workflow(
        self, purchase: Purchase, claim: Claim, customer_id: str, time_left: timedelta
    ) -> WorkflowRequest[PurchaseAnswer]:
        shop = purchase.shop
        attempt = Attempt(
            shop_id=shop.id,
            shop_domain=shop.domain,
            redemption_id=claim.redemption_id,
            number=claim.attempt,
            customer_id=customer_id,
            reward_id=purchase.reward_id,
            deadline=claim.now + (self._queued_deadline if purchase.is_queued else time_left),
            # Its client waits no longer for the points than that of any purchase waits for the code.
            reserve_by=claim.now + time_left if purchase.is_queued else None,
            channels=shops.channels_of(shop, has_subscriptions=claim.has_subscriptions),
            points_to_spend=purchase.points_to_spend,
            is_queued=purchase.is_queued,
        )
        summary = purchase.reward_id
        if claim.reward_name is not None:
            summary = f"{purchase.points_to_spend or claim.points_cost} points → {claim.reward_name}"
        return WorkflowRequest(
            id=purchase_workflow_id(attempt.redemption_id, attempt.number),
            run=RedeemReward.run,
            answer=RedeemReward.reservation if purchase.is_queued else RedeemReward.answer,
            update_id="reservation" if purchase.is_queued else UPDATE_ID,
            attempt=attempt,
            stage=Stage.REDEEMING,
            # The default would start a second purchase once the first workflow is closed.
            reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            timeout=time_left + GRACE,
            summary=summary,
            details=static_details(attempt),
        )

    async def _find_purchased(self, shop: Shop, redemption_id: str) -> Purchased | None:
        async with self._sessions() as session:
            found = await discount_codes.find_captured(session, shop.id, redemption_id)
        return found and Purchased(redemption=found[0], code=found[1], shopify_time=found[2])


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
