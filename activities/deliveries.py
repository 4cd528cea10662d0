"""Announcing a redemption: one step, one row and one vendor per channel."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, Protocol, cast

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.failures import raise_alarm
from clients.outcomes import NotExecuted, Refused, Unknown
from db import catalogue, redemptions
from db.engine import Sessions
from db.tables import Delivery
from domain.channels import Channel

DeliveryStatus = Literal["sent", "failed", "unknown", "skipped"]


class Deliver(BaseModel):
    """Tell this channel of this redemption; `again` when an operator wants a refused delivery tried once more."""

    shop_id: int
    redemption_id: str
    channel: Channel
    again: bool = False


class SkipDelivery(BaseModel):
    """Leave this channel untold, for a reason that an operator gave."""

    shop_id: int
    redemption_id: str
    channel: Channel
    reason: str


class Sender(Protocol):
    """How one channel is told."""

    @property
    def repeatable(self) -> bool:
        """Whether a send whose outcome is unknown may be tried again."""
        ...

    @property
    def oldest(self) -> timedelta | None:
        """The age at which news is worse than none; None for a state, which is always as of now."""
        ...

    async def send(self, shop_id: int, redemption_id: str) -> None:
        """Tell the vendor.

        Raises:
            NotExecuted, Refused, Unknown: what came of it.
        """
        ...


class Deliveries:
    """Announces redemptions."""

    def __init__(self, sessions: Sessions, senders: Mapping[Channel, Sender]) -> None:
        self._sessions = sessions
        self._senders = senders

    @activity.defn
    async def deliver(self, order: Deliver) -> DeliveryStatus:
        """Send once, or again where the vendor allows it, and keep the outcome in the delivery's row.

        Raises:
            NotExecuted, Unknown: worth another try.
        """
        sender = self._senders[order.channel]
        settled = await self._begin(order, sender)
        if settled is not None:
            return settled
        try:
            await sender.send(order.shop_id, order.redemption_id)
        except NotExecuted as error:
            await self._try_later(order, error.reason)
            raise
        except Refused as error:
            raise_alarm(error)
            return await self._settle(order, "failed", error.reason)
        except Unknown as error:
            if not sender.repeatable:
                return await self._settle(order, "unknown", error.reason)
            await self._try_later(order, error.reason)
            raise
        return await self._settle(order, "sent")

    @activity.defn
    async def skip_delivery(self, order: SkipDelivery) -> DeliveryStatus:
        """Skip what has not been sent. A try under way is not stopped, but it is the last."""
        async with self._sessions.begin() as session:
            row = await redemptions.lock_delivery(session, order.shop_id, order.redemption_id, order.channel)
            if row is None:
                return "skipped"
            if row.status in ("pending", "failed"):
                row.status, row.last_error = "skipped", order.reason
            return cast(DeliveryStatus, row.status)

    async def _begin(self, order: Deliver, sender: Sender) -> DeliveryStatus | None:
        """Note the try before it is made; tells the outcome when there is one already."""
        async with self._sessions.begin() as session:
            row = await redemptions.lock_delivery(session, order.shop_id, order.redemption_id, order.channel)
            if row is None:
                # Captured by another attempt, when the shop did not have this channel.
                return "skipped"
            if row.status == "failed" and order.again:
                row.status, row.attempted_at = "pending", None
            if row.status == "pending":
                row.status, row.last_error = await _may_be_sent(session, row, sender)
            if row.status != "pending":
                return cast(DeliveryStatus, row.status)
            row.attempts += 1
            row.attempted_at = await catalogue.now(session)
            return None

    async def _try_later(self, order: Deliver, reason: str) -> None:
        async with self._sessions.begin() as session:
            row = await redemptions.lock_delivery(session, order.shop_id, order.redemption_id, order.channel)
            assert row is not None
            row.attempted_at, row.last_error = None, reason

    async def _settle(self, order: Deliver, status: DeliveryStatus, reason: str | None = None) -> DeliveryStatus:
        async with self._sessions.begin() as session:
            row = await redemptions.lock_delivery(session, order.shop_id, order.redemption_id, order.channel)
            assert row is not None
            if row.status == "skipped" and status == "failed":
                # Skipped while it was being sent, which came to nothing.
                return "skipped"
            row.status, row.last_error = status, reason
            row.sent_at = await catalogue.now(session) if status == "sent" else None
        return status


async def _may_be_sent(session: AsyncSession, row: Delivery, sender: Sender) -> tuple[str, str | None]:
    """`pending` if it may, else where the delivery ends and why."""
    if row.attempted_at is not None and not sender.repeatable:
        # A worker died between this note and the outcome: sent or not, a second text message is worse.
        return "unknown", "the worker stopped while it was sending"
    if sender.oldest is not None and await catalogue.now(session) - row.created_at > sender.oldest:
        return "skipped", f"older than {sender.oldest.total_seconds() / 3600:.0f} hours"
    return "pending", row.last_error
