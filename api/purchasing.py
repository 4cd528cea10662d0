"""From an intention to buy to its answer: each intention once, however often it is sent."""

from dataclasses import dataclass
from datetime import timedelta

from activities.attempt import Attempt
from api.engine import Engine, Order
from api.errors import ApiError, refused
from api.resources import reward_history_document
from db import catalogue, idempotency, redemptions
from db.engine import Sessions
from db.idempotency import Decision
from db.tables import IdempotencyKey, Shop
from domain.eligibility import Member, Refusal, refusals
from domain.redemptions import CAPTURED, new_redemption_id


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
        claim = await self._claim(intention)
        if claim.status is not None and claim.body is not None:
            return Reply(decision=Decision(status=claim.status, body=claim.body), replayed=True)
        refusal = await self._redeem(intention, claim)
        if refusal is None:
            decision = await self._purchased(intention.shop, claim.redemption_id)
        else:
            error = refused(refusal, reward_id=intention.reward_id, customer_identifier=intention.customer_identifier)
            decision = Decision(status=error.kind.status, body=error.body())
        async with self._sessions.begin() as session:
            kept = await idempotency.decide(session, intention.shop.id, intention.key, decision)
        return Reply(decision=kept, replayed=False)

    async def _claim(self, intention: Intention) -> IdempotencyKey:
        mark = idempotency.fingerprint(intention.reward_id, intention.customer_identifier)
        async with self._sessions.begin() as session:
            claim = await idempotency.claim(session, intention.shop.id, intention.key, mark, new_redemption_id())
        if claim.fingerprint != mark:
            raise ApiError(
                "idempotency_key_reused",
                "This Idempotency-Key stands for a purchase of another reward or by another customer; use a new key",
            )
        return claim

    async def _redeem(self, intention: Intention, claim: IdempotencyKey) -> Refusal | None:
        """Redeem, unless that has happened; None when it has.

        Raises:
            ApiError: undecided; the next request with the key makes a new attempt.
        """
        if await self._is_captured(intention.shop, claim.redemption_id):
            return None
        order = await self._order(intention, claim)
        if isinstance(order, Refusal):
            return order
        answer = await self._engine.answer(order)
        if answer is not None and (answer.purchased or answer.refusal):
            return answer.refusal

        async with self._sessions.begin() as session:
            await idempotency.next_attempt(session, intention.shop.id, intention.key, claim.attempt)
        # Where the engine gave no answer, the row has the last word.
        if await self._is_captured(intention.shop, claim.redemption_id):
            return None
        raise _unavailable(engine=answer is None)

    async def _is_captured(self, shop: Shop, redemption_id: str) -> bool:
        async with self._sessions() as session:
            row = await redemptions.find_redemption(session, shop.id, redemption_id)
            return row is not None and row.status in CAPTURED

    async def _order(self, intention: Intention, claim: IdempotencyKey) -> Order | Refusal:
        """What the workflow is to do. A run is about a customer and a reward; where one is missing, there is none."""
        shop = intention.shop
        async with self._sessions() as session:
            customer = await catalogue.find_customer(session, shop.id, intention.customer_identifier)
            reward = await catalogue.find_reward(session, shop.id, intention.reward_id)
            if customer is None or reward is None:
                member = customer and Member(excluded=customer.excluded, vip_tier_id=customer.vip_tier_id, points=0)
                return next(refusals(member, None))
            attempt = Attempt(
                shop_id=shop.id,
                redemption_id=claim.redemption_id,
                number=claim.attempt,
                customer_id=customer.id,
                reward_id=reward.id,
                deadline=await catalogue.now(session) + self._deadline,
                channels=catalogue.channels_of(shop),
            )
            summary = f"{reward.points_cost} points → {reward.name}"
            return Order(attempt=attempt, shop_domain=shop.domain, summary=summary)

    async def _purchased(self, shop: Shop, redemption_id: str) -> Decision:
        async with self._sessions() as session:
            row = await redemptions.find_redemption(session, shop.id, redemption_id)
            assert row is not None, "a purchase has a row"
            document = reward_history_document(row, await redemptions.code_of(session, row))
        return Decision(status=201, body=document.model_dump_json())


def _unavailable(*, engine: bool) -> ApiError:
    if engine:
        return ApiError("engine_unavailable", "The purchase could not be processed in time; no points were taken")
    return ApiError("shopify_unavailable", "Unable to connect to Shopify to generate the discount code")
