"""From an intention to buy to its answer: each intention once, however often it is sent."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.common import WorkflowIDReusePolicy

from activities.attempt import Attempt
from api.errors import ApiError, refused
from api.schemas.reward_history import reward_history_document
from database import Sessions
from db import customers, discount_codes, idempotency, redemptions, rewards, shops, transactions
from db.idempotency import Decision
from db.tables import IdempotencyKey, Shop
from db.transactions import is_away
from domain.eligibility import Member, Refusal, refusals
from domain.redemptions import CAPTURED, PENDING, new_redemption_id, workflow_id
from services.gateway import PAUSE_SECONDS, Engine, Run
from workflows.current_details import static_details
from workflows.outcomes import Answer, Outcome
from workflows.progress import Stage
from workflows.redeem_reward import RedeemReward

Result = TypeVar("Result")

# At the deadline the workflow still gives the points back before it answers.
GRACE = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class Intention:
    """What a client asks for, and the key it calls it by."""

    shop: Shop
    key: str
    reward_id: str
    customer_identifier: str


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A decided answer; `replayed` when it had been given before."""

    decision: Decision
    replayed: bool


class Purchasing:
    """Answers intentions."""

    def __init__(self, sessions: Sessions, engine: Engine, *, deadline: timedelta) -> None:
        self._sessions = sessions
        self._engine = engine
        self._deadline = deadline

    async def purchase(self, intention: Intention) -> Reply:
        """The answer to this intention: made now, or as it was first given.

        Raises:
            ApiError: the key stands for another intention, or the outcome is undecided (503).
        """
        claim, is_new = await self._claim(intention)
        if claim.status is not None and claim.body is not None:
            return Reply(decision=Decision(status=claim.status, body=claim.body), replayed=not is_new)
        if await self._status(intention.shop, claim.redemption_id) in CAPTURED:
            answer = Answer(outcome=Outcome.PURCHASED)
        else:
            answer = await self._engine.answer(await self._run(intention, claim))
        # What has happened must be told, even while the database restarts.
        return await while_away(lambda: self._conclude(intention, claim, answer))

    async def _claim(self, intention: Intention) -> tuple[IdempotencyKey, bool]:
        mark = idempotency.fingerprint(intention.reward_id, intention.customer_identifier)
        async with self._sessions.begin() as session:
            claim, is_new = await idempotency.claim(
                session, intention.shop.id, intention.key, mark, new_redemption_id()
            )
            if is_new:
                await self._look_up(session, intention, claim)
        if claim.fingerprint != mark:
            raise ApiError(
                "idempotency_key_reused",
                "This Idempotency-Key stands for a purchase of another reward or by another customer; use a new key",
            )
        return claim, is_new

    async def _look_up(self, session: AsyncSession, intention: Intention, claim: IdempotencyKey) -> None:
        """Who buys; decided here, where customer or reward do not exist, as a run is named after both.

        Once, in the transaction that writes the key: later the answer could be another, and a run under way.
        """
        shop_id = intention.shop.id
        customer = await customers.find_customer(session, shop_id, intention.customer_identifier)
        reward = await rewards.find_reward(session, shop_id, intention.reward_id)
        if customer is not None and reward is not None:
            claim.customer_id = customer.id
            return
        member = customer and Member(excluded=customer.excluded, vip_tier_id=customer.vip_tier_id, points=0)
        decision = _refused(intention, next(refusals(member, None)))
        claim.status, claim.body = decision.status, decision.body

    async def _conclude(self, intention: Intention, claim: IdempotencyKey, answer: Answer | None) -> Reply:
        """The reply that follows from the run's answer, or from the row where there is none.

        Raises:
            ApiError: undecided; the next request with the key makes a new attempt.
        """
        if answer is not None and answer.refusal is not None:
            return await self._decide(intention, _refused(intention, answer.refusal))
        if answer is None:
            await self._until_decided(intention.shop, claim)
        if await self._status(intention.shop, claim.redemption_id) in CAPTURED:
            return await self._decide(intention, await self._purchased(intention.shop, claim.redemption_id))
        async with self._sessions.begin() as session:
            await idempotency.next_attempt(session, intention.shop.id, intention.key, claim.attempt)
        raise _unavailable(answer)

    async def _decide(self, intention: Intention, decision: Decision) -> Reply:
        async with self._sessions.begin() as session:
            kept = await idempotency.decide(session, intention.shop.id, intention.key, decision)
        return Reply(decision=kept, replayed=False)

    async def _until_decided(self, shop: Shop, claim: IdempotencyKey) -> None:
        """Wait until the row has decided, or its deadline has passed, after which nobody captures.

        A step whose run was closed under it goes on to its end in the worker.
        """
        while True:
            async with self._sessions() as session:
                row = await redemptions.find_redemption(session, shop.id, claim.redemption_id)
                if row is None or row.status != PENDING or await transactions.now(session) > row.deadline:
                    return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _status(self, shop: Shop, redemption_id: str) -> str | None:
        """The redemption's status; None while it has no row."""
        async with self._sessions() as session:
            row = await redemptions.find_redemption(session, shop.id, redemption_id)
            return row and row.status

    async def _run(self, intention: Intention, claim: IdempotencyKey) -> Run[Answer]:
        shop = intention.shop
        assert claim.customer_id is not None, "an undecided key has its customer"
        async with self._sessions() as session:
            reward = await rewards.find_reward(session, shop.id, intention.reward_id)
            attempt = Attempt(
                shop_id=shop.id,
                shop_domain=shop.domain,
                redemption_id=claim.redemption_id,
                number=claim.attempt,
                customer_id=claim.customer_id,
                reward_id=intention.reward_id,
                deadline=await transactions.now(session) + self._deadline,
                channels=await shops.channels_of(session, shop),
            )
        summary = f"{reward.points_cost} points → {reward.name}" if reward else intention.reward_id
        return Run(
            id=workflow_id(attempt.redemption_id, attempt.number),
            story=RedeemReward.run,
            answer=RedeemReward.answer,
            attempt=attempt,
            stage=Stage.REDEEMING,
            # The default would start a second redemption once the first run is closed.
            reuse=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            patience=self._deadline + GRACE,
            summary=summary,
            details=static_details(attempt),
        )

    async def _purchased(self, shop: Shop, redemption_id: str) -> Decision:
        async with self._sessions() as session:
            row = await redemptions.find_redemption(session, shop.id, redemption_id)
            assert row is not None, "a purchase has a row"
            document = reward_history_document(row, await discount_codes.code_of(session, row))
        return Decision(status=201, body=document.model_dump_json())


async def while_away(work: Callable[[], Awaitable[Result]]) -> Result:
    """Try again for a while when the database is away; `work` must be safe to repeat."""
    for pause in (0.25, 0.5, 1, 2, 4, 4, 4):
        try:
            return await work()
        except (OSError, SQLAlchemyError) as error:
            if not is_away(error):
                raise
            await asyncio.sleep(pause)
    return await work()


def _refused(intention: Intention, refusal: Refusal) -> Decision:
    error = refused(refusal, reward_id=intention.reward_id, customer_identifier=intention.customer_identifier)
    return Decision(status=error.kind.status, body=error.body())


def _unavailable(answer: Answer | None) -> ApiError:
    if answer is not None and answer.outcome is Outcome.SHOPIFY_UNAVAILABLE:
        return ApiError("shopify_unavailable", "Unable to connect to Shopify to generate the discount code")
    return ApiError(
        "engine_unavailable", "The purchase could not be processed in time; points that it took are given back"
    )
