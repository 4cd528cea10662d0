"""Announcing what happens to a redemption: one step, one row and one vendor per event and channel."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, Protocol, cast

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.failures import raise_alarm
from clients.outcomes import NotExecuted, Refused, Unknown
from database import Sessions
from db import deliveries, transactions
from db.tables import Delivery
from domain.channels import Channel
from domain.events import EventKind

DeliveryStatus = Literal["sent", "failed", "unknown", "skipped"]


class Delivered(BaseModel):
    """Where a delivery ended; `reason` in the words of whoever kept it from being sent."""

    status: DeliveryStatus
    reason: str | None = None


# Captured by another attempt, when the shop did not have this channel.
NOT_PLANNED = "the captured purchase did not have this channel"


class _Delivery(BaseModel):
    """One event of one redemption on one channel."""

    shop_id: int
    redemption_id: str
    channel: Channel
    event: EventKind = EventKind.REWARD_REDEEMED


class Deliver(_Delivery):
    """Tell the channel; `again` when an operator wants a refused delivery tried once more."""

    again: bool = False


class SkipDelivery(_Delivery):
    """Leave the channel untold, for a reason that an operator gave."""

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

    async def send(self, shop_id: int, redemption_id: str, event: EventKind) -> None:
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
    async def deliver(self, order: Deliver) -> Delivered:
        """Send once, or again where the vendor allows it, and keep the outcome in the delivery's row.

        Raises:
            NotExecuted, Unknown: worth another try.
        """
        sender = self._senders[order.channel]
        settled = await self._begin(order, sender)
        if settled is not None:
            return settled
        try:
            await sender.send(order.shop_id, order.redemption_id, order.event)
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
    async def skip_delivery(self, order: SkipDelivery) -> Delivered:
        """Skip what has not been sent. A try under way is not stopped, but it is the last."""
        async with self._sessions.begin() as session:
            row = await _lock(session, order)
            if row is None:
                return Delivered(status="skipped", reason=NOT_PLANNED)
            if row.status in ("pending", "failed"):
                row.status, row.last_error = "skipped", order.reason
            return _outcome(row)

    async def _begin(self, order: Deliver, sender: Sender) -> Delivered | None:
        """Note the try before it is made; tells the outcome when there is one already."""
        async with self._sessions.begin() as session:
            row = await _lock(session, order)
            if row is None:
                return Delivered(status="skipped", reason=NOT_PLANNED)
            if row.status == "failed" and order.again:
                row.status, row.attempted_at = "pending", None
            if row.status == "pending":
                row.status, row.last_error = await _may_be_sent(session, row, sender)
            if row.status != "pending":
                return _outcome(row)
            row.attempts += 1
            row.attempted_at = await transactions.now(session)
            return None

    async def _try_later(self, order: Deliver, reason: str) -> None:
        async with self._sessions.begin() as session:
            row = await _lock(session, order)
            assert row is not None
            row.attempted_at, row.last_error = None, reason

    async def _settle(self, order: Deliver, status: DeliveryStatus, reason: str | None = None) -> Delivered:
        async with self._sessions.begin() as session:
            row = await _lock(session, order)
            assert row is not None
            if row.status == "skipped" and status == "failed":
                # Skipped while it was being sent, which came to nothing.
                return _outcome(row)
            row.status, row.last_error = status, reason
            row.sent_at = await transactions.now(session) if status == "sent" else None
        return Delivered(status=status, reason=reason)


def _outcome(row: Delivery) -> Delivered:
    return Delivered(status=cast(DeliveryStatus, row.status), reason=row.last_error)


async def _lock(session: AsyncSession, order: _Delivery) -> Delivery | None:
    return await deliveries.lock_delivery(session, order.shop_id, order.redemption_id, order.channel, order.event)


async def _may_be_sent(session: AsyncSession, row: Delivery, sender: Sender) -> tuple[str, str | None]:
    """`pending` if it may, else where the delivery ends and why."""
    if row.attempted_at is not None and not sender.repeatable:
        # A worker died between this note and the outcome: sent or not, a second text message is worse.
        return "unknown", "the worker stopped while it was sending"
    if sender.oldest is not None and await transactions.now(session) - row.created_at > sender.oldest:
        return "skipped", f"older than {sender.oldest.total_seconds() / 3600:.0f} hours"
    return "pending", row.last_error
