"""Refunds, as the API and the command line request them."""

from dataclasses import dataclass, replace
from datetime import timedelta

from structlog.contextvars import bind_contextvars
from temporalio.common import WorkflowIDReusePolicy

from activities.attempt import Attempt
from database import Sessions
from db import discount_codes, redemptions, refunds, shops, subscriptions
from db.tables import Redemption, Refund, Shop
from domain.ids import refund_workflow_id
from domain.refunds import RefundRefusal, RefundStatus
from services.gateway import Gateway, WorkflowRequest
from workflows.current_details import refund_details
from workflows.outcomes import RefundOutcome
from workflows.progress import Stage
from workflows.refund_redemption import RefundRedemption


@dataclass(frozen=True, kw_only=True)
class Refunded:
    """A completed refund. `code`: the code that the customer got. `earlier`: it was made before this request."""

    redemption: Redemption
    code: str | None
    code_removed: bool
    earlier: bool = False


class RefundPending(Exception):
    """The refund request is stored and will be completed. `for_shopify`: it waits for Shopify."""

    def __init__(self, *, for_shopify: bool) -> None:
        super().__init__("the refund is in progress")
        self.for_shopify = for_shopify


class Refunds:
    """Refunds redemptions, each once."""

    def __init__(self, sessions: Sessions, gateway: Gateway, *, timeout: timedelta) -> None:
        self._sessions = sessions
        self._gateway = gateway
        self._timeout = timeout

    async def refund(
        self, shop: Shop, redemption_id: str, *, actor: str, reason: str | None
    ) -> Refunded | RefundRefusal:
        """Refund a redemption of the shop, or return the earlier refund. `actor` and `reason` are logged.

        The refund request is stored before the workflow starts, so that the refund is made even if the start fails.
        Raises `RefundPending` after the timeout.
        """
        requested = await self._request(shop, redemption_id, actor, reason)
        if isinstance(requested, RefundRefusal):
            return requested
        redemption, refund = requested
        bind_contextvars(redemption_id=redemption.id)
        if refund.status is not RefundStatus.DONE:
            await self._gateway.answer(self._workflow(shop, redemption, refund))
            return await self._outcome(redemption_id)
        outcome = await self._outcome(redemption_id)
        return replace(outcome, earlier=True) if isinstance(outcome, Refunded) else outcome

    async def _request(
        self, shop: Shop, redemption_id: str, actor: str, reason: str | None
    ) -> tuple[Redemption, Refund] | RefundRefusal:
        async with self._sessions.begin() as session:
            redemption = await redemptions.find_redemption(session, shop.id, redemption_id)
            if redemption is None:
                return RefundRefusal.NOT_FOUND
            has_subscriptions = await subscriptions.has_active_subscriptions(session, shop.id)
            channels = shops.channels_of(shop, has_subscriptions=has_subscriptions)
            refund = await refunds.request_refund(session, redemption, actor=actor, reason=reason, channels=channels)
            return refund if isinstance(refund, RefundRefusal) else (redemption, refund)

    def _workflow(self, shop: Shop, redemption: Redemption, refund: Refund) -> WorkflowRequest[RefundOutcome]:
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
        return WorkflowRequest(
            id=refund_workflow_id(redemption.id),
            run=RefundRedemption.run,
            answer=RefundRedemption.answer,
            attempt=attempt,
            stage=Stage.REFUNDING,
            # A terminated workflow is followed by another, a completed one is not.
            reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
            timeout=self._timeout,
            summary=f"refund {redemption.points_spent} points of {redemption.reward_name}",
            details=refund_details(attempt),
        )

    async def _outcome(self, redemption_id: str) -> Refunded | RefundRefusal:
        async with self._sessions() as session:
            refund = await session.get_one(Refund, redemption_id)
            redemption = await session.get_one(Redemption, redemption_id)
            code = await discount_codes.customer_code(session, redemption)
        match refund.status:
            case RefundStatus.DONE:
                return Refunded(redemption=redemption, code=code, code_removed=bool(refund.code_removed))
            case RefundStatus.REFUSED:
                return RefundRefusal.ALREADY_USED
            case _:
                for_shopify = await self._gateway.waits_for_vendor(refund_workflow_id(redemption_id))
                raise RefundPending(for_shopify=for_shopify)
