"""Deliver events: one activity, one row and one vendor per event and channel."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.failures import raise_alarm
from clients.outcomes import NotExecuted, Refused, Unknown
from database import Sessions
from db import deliveries, transactions
from db.tables import Delivery
from domain.channels import Channel
from domain.deliveries import UNSENT, DeliveryStatus
from domain.events import EventKind


class DeliveryOutcome(BaseModel):
    """Status of a delivery. `reason`: why it was not sent, in the words of the vendor or operator."""

    status: DeliveryStatus
    reason: str | None = None


# Another attempt was captured, when the shop did not have this channel.
NOT_PLANNED = "the captured purchase did not have this channel"


class _Request(BaseModel):
    shop_id: int
    redemption_id: str
    channel: Channel
    event: EventKind = EventKind.REWARD_REDEEMED


class Deliver(_Request):
    """Send the event. `retry_failed`: also if the delivery has failed."""

    retry_failed: bool = False


class SkipDelivery(_Request):
    """Skip the delivery. `reason`: given by an operator."""

    reason: str


class Sender(Protocol):
    """Sends events on one channel."""

    @property
    def repeatable(self) -> bool:
        """Whether a send with an unknown outcome may be repeated."""
        ...

    @property
    def max_age(self) -> timedelta | None:
        """Maximum event age; older events are skipped. None: never skipped (state, not an event)."""
        ...

    async def send(self, shop_id: int, redemption_id: str, event: EventKind) -> None:
        """Send the event.

        Raises:
            NotExecuted, Refused, Unknown: the outcome.
        """
        ...


class Deliveries:
    """Delivers events."""

    def __init__(self, sessions: Sessions, senders: Mapping[Channel, Sender]) -> None:
        self._sessions = sessions
        self._senders = senders

    @activity.defn
    async def deliver(self, request: Deliver) -> DeliveryOutcome:
        """Send the event once, and store the outcome in the delivery's row. Repeated only where the channel allows it.

        Raises:
            NotExecuted, Unknown: to be retried.
        """
        sender = self._senders[request.channel]
        settled = await self._begin(request, sender)
        if settled is not None:
            return settled
        try:
            await sender.send(request.shop_id, request.redemption_id, request.event)
        except NotExecuted as error:
            await self._keep_pending(request, error.reason)
            raise
        except Refused as error:
            raise_alarm(error)
            return await self._settle(request, DeliveryStatus.FAILED, error.reason)
        except Unknown as error:
            if not sender.repeatable:
                return await self._settle(request, DeliveryStatus.UNKNOWN, error.reason)
            await self._keep_pending(request, error.reason)
            raise
        return await self._settle(request, DeliveryStatus.SENT)

    @activity.defn
    async def skip_delivery(self, request: SkipDelivery) -> DeliveryOutcome:
        """Skip an unsent delivery. A send in progress is not stopped, but is not retried."""
        async with self._sessions.begin() as session:
            row = await _lock(session, request)
            if row is None:
                return DeliveryOutcome(status=DeliveryStatus.SKIPPED, reason=NOT_PLANNED)
            if row.status in UNSENT:
                row.status, row.last_error = DeliveryStatus.SKIPPED, request.reason
            return _outcome(row)

    async def _begin(self, request: Deliver, sender: Sender) -> DeliveryOutcome | None:
        """Record the send attempt before it is made. Returns the outcome if the delivery is already settled."""
        async with self._sessions.begin() as session:
            row = await _lock(session, request)
            if row is None:
                return DeliveryOutcome(status=DeliveryStatus.SKIPPED, reason=NOT_PLANNED)
            if row.status is DeliveryStatus.FAILED and request.retry_failed:
                row.status, row.attempted_at = DeliveryStatus.PENDING, None
            if row.status is not DeliveryStatus.PENDING:
                return _outcome(row)
            status, row.last_error = await _check_sendable(session, row, sender)
            if status is not DeliveryStatus.PENDING:
                row.status = status
                return _outcome(row)
            row.attempts += 1
            row.attempted_at = await transactions.now(session)
            return None

    async def _keep_pending(self, request: Deliver, reason: str) -> None:
        async with self._sessions.begin() as session:
            row = await _lock(session, request)
            assert row is not None
            row.attempted_at, row.last_error = None, reason

    async def _settle(self, request: Deliver, status: DeliveryStatus, reason: str | None = None) -> DeliveryOutcome:
        async with self._sessions.begin() as session:
            row = await _lock(session, request)
            assert row is not None
            if row.status is not status and status not in row.status.successors:
                # Settled differently during the send: skipped, or sent by an overlapping attempt.
                return _outcome(row)
            row.status, row.last_error = status, reason
            row.sent_at = await transactions.now(session) if status is DeliveryStatus.SENT else None
        return DeliveryOutcome(status=status, reason=reason)


def _outcome(row: Delivery) -> DeliveryOutcome:
    return DeliveryOutcome(status=row.status, reason=row.last_error)


async def _lock(session: AsyncSession, request: _Request) -> Delivery | None:
    ids = (request.shop_id, request.redemption_id, request.channel, request.event)
    return await deliveries.lock_delivery(session, *ids)


async def _check_sendable(session: AsyncSession, row: Delivery, sender: Sender) -> tuple[DeliveryStatus, str | None]:
    """`pending` if the event may be sent, else the final status and its reason."""
    if row.attempted_at is not None and not sender.repeatable:
        # A worker died between recording the attempt and its outcome. A second text message is worse than none.
        return DeliveryStatus.UNKNOWN, "the worker stopped during the send"
    if sender.max_age is not None and await transactions.now(session) - row.created_at > sender.max_age:
        return DeliveryStatus.SKIPPED, f"older than {sender.max_age.total_seconds() / 3600:.0f} hours"
    return DeliveryStatus.PENDING, row.last_error
