"""From the wish to refund a redemption to its answer. The API and the command line come in here."""

from dataclasses import dataclass
from datetime import timedelta

from temporalio.common import WorkflowIDReusePolicy

from activities.attempt import Attempt
from database import Sessions
from db import discount_codes, redemptions, refunds, shops
from db.tables import Redemption, Refund, Shop
from domain.refunds import DONE, REFUSED, RefundRefusal, refund_id
from services.gateway import Engine, Run
from workflows.current_details import refund_details
from workflows.progress import Stage
from workflows.refund_redemption import Ending, RefundRedemption


@dataclass(frozen=True, kw_only=True)
class Refunded:
    """A refund that is done, with the redemption as it is now and the code that the customer had."""

    redemption: Redemption
    code: str | None
    code_removed: bool


class RefundPending(Exception):
    """Nobody knows yet how it ends; it goes on by itself. `for_shopify` when Shopify is what it waits for."""

    def __init__(self, *, for_shopify: bool) -> None:
        super().__init__("the refund has begun and is not done")
        self.for_shopify = for_shopify


class Refunding:
    """Refunds redemptions, each once, however often it is asked."""

    def __init__(self, sessions: Sessions, engine: Engine, *, patience: timedelta) -> None:
        self._sessions = sessions
        self._engine = engine
        self._patience = patience

    async def refund(
        self, shop: Shop, redemption_id: str, *, actor: str, reason: str | None
    ) -> Refunded | RefundRefusal:
        """Refund a redemption of this shop, now or before. `actor` is who asks, as the activity log will tell.

        The wish is kept first, so that it comes true even if nobody is there to see it. The row answers where it
        can; the engine is asked only while the refund is under way.

        Raises:
            RefundPending: it takes longer than the caller's patience.
        """
        wish = await self._ask(shop, redemption_id, actor, reason)
        if isinstance(wish, RefundRefusal):
            return wish
        redemption, refund = wish
        if refund.state != DONE:
            await self._engine.answer(self._run(shop, redemption, refund))
        return await self._outcome(redemption_id)

    async def _ask(
        self, shop: Shop, redemption_id: str, actor: str, reason: str | None
    ) -> tuple[Redemption, Refund] | RefundRefusal:
        async with self._sessions.begin() as session:
            redemption = await redemptions.find_redemption(session, shop.id, redemption_id)
            if redemption is None:
                return RefundRefusal.NOT_FOUND
            channels = await shops.channels_of(session, shop)
            refund = await refunds.ask(session, redemption, actor=actor, reason=reason, channels=channels)
            return refund if isinstance(refund, RefundRefusal) else (redemption, refund)

    def _run(self, shop: Shop, redemption: Redemption, refund: Refund) -> Run[Ending]:
        attempt = Attempt.model_validate(
            {
                "shop_id": shop.id,
                "shop_domain": shop.domain,
                "redemption_id": redemption.id,
                "number": redemption.attempt,
                "customer_id": redemption.customer_id,
                "reward_id": redemption.reward_id,
                "deadline": redemption.deadline,
                "channels": refund.channels,
            }
        )
        return Run(
            id=refund_id(redemption.id),
            story=RefundRedemption.run,
            answer=RefundRedemption.answer,
            attempt=attempt,
            stage=Stage.COMPENSATING,
            # One that was terminated is taken up again, one that came to its end is not.
            reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
            patience=self._patience,
            summary=f"refund {redemption.points_spent} points of {redemption.reward_name}",
            details=refund_details(attempt),
        )

    async def _outcome(self, redemption_id: str) -> Refunded | RefundRefusal:
        async with self._sessions() as session:
            refund = await session.get_one(Refund, redemption_id)
            redemption = await session.get_one(Redemption, redemption_id)
            code = await discount_codes.code_of(session, redemption)
        if refund.state == REFUSED:
            return RefundRefusal.ALREADY_USED
        if refund.state != DONE:
            raise RefundPending(for_shopify=await self._engine.waits_for_a_vendor(refund_id(redemption_id)))
        return Refunded(redemption=redemption, code=code, code_removed=bool(refund.code_removed))
