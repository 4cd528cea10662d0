"""Deliver events: one row and one vendor per event and channel."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError

import metrics
from activities.failures import raise_alarm, retryable
from clients.outcomes import NoRecipient, NotExecuted, Refused, Unknown
from database import Sessions
from db import deliveries, transactions
from db.deliveries import EventToSend, SendRule
from db.tables import Delivery
from domain.channels import Channel
from domain.deliveries import UNSENT, DeliveryStatus
from domain.events import EventKind


class DeliveryOutcome(BaseModel):
    """Status of a delivery. `reason`: why it was not sent, in the words of the vendor or operator."""

    status: DeliveryStatus
    reason: str | None = None


class Postponed(BaseModel):
    """A failed send that is to be retried. `seconds`: as requested by the vendor. None: by the retry policy."""

    failure: str
    reason: str
    seconds: float | None = None


# Another attempt was captured, when the shop did not have this channel.
NOT_PLANNED = DeliveryOutcome(status=DeliveryStatus.SKIPPED, reason="the captured purchase did not have this channel")


class _Request(BaseModel):
    shop_id: int
    redemption_id: str
    event: EventKind = EventKind.REWARD_REDEEMED


class DeliverAll(_Request):
    """Send the event on these channels, once each."""

    channels: Sequence[Channel]


class Deliver(_Request):
    """Send the event on one channel.

    Attributes:
        retry_failed: also if the delivery has failed.
        postponed: why an earlier send failed. The first execution fails with it again, so that the Temporal UI shows
            the failure and the time of the next attempt, and operators can reset the activity.
    """

    channel: Channel
    retry_failed: bool = False
    postponed: Postponed | None = None


class SkipDelivery(_Request):
    """Skip the delivery. `reason`: given by an operator."""

    channel: Channel
    reason: str


class Sender(Protocol):
    """Sends events on one channel."""

    @property
    def rule(self) -> SendRule:
        """How the channel may be sent to."""
        ...

    async def send(self, event: EventToSend) -> None:
        """Send the event.

        Raises:
            NotExecuted, Refused, Unknown, NoRecipient: the outcome.
        """
        ...


class Deliveries:
    """Delivers events."""

    def __init__(self, sessions: Sessions, senders: Mapping[Channel, Sender]) -> None:
        self._sessions = sessions
        self._senders = senders

    @activity.defn
    async def deliver_all(self, request: DeliverAll) -> dict[Channel, DeliveryOutcome | Postponed]:
        """Make the first send on every channel, in parallel, and store each outcome.

        Channels that are not in the result are for `deliver`: nothing was sent on them.
        """
        event = await self._begin(request, request.channels)
        if event is None:
            return {}
        channels = [Channel(channel) for channel in event.channels]
        sends = (self._send(request, channel, event) for channel in channels)
        outcomes: dict[Channel, DeliveryOutcome | Postponed] = {}
        # All sends end before this activity is retried, also if the outcome of one cannot be stored.
        for channel, outcome in zip(channels, await asyncio.gather(*sends, return_exceptions=True), strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            outcomes[channel] = outcome
        if all(_is_over(outcome) for outcome in outcomes.values()):
            _observe_end(event)
        return outcomes

    @activity.defn
    async def deliver(self, request: Deliver) -> DeliveryOutcome:
        """Send on one channel, and store the outcome. Repeated only where the channel allows it.

        Raises:
            NotExecuted, Unknown: to be retried.
        """
        if request.postponed is not None and _is_first_execution(activity.info()):
            raise _failure(request.postponed)
        if request.retry_failed:
            await self._reopen(request)
        event = await self._begin(request, [request.channel])
        if event is None:
            return await self._settle_unsendable(request)
        outcome = await self._send(request, request.channel, event)
        if isinstance(outcome, Postponed):
            raise _failure(outcome)
        if _is_over(outcome) and not await self._are_unsent(request):
            _observe_end(event)
        return outcome

    @activity.defn
    async def skip_delivery(self, request: SkipDelivery) -> DeliveryOutcome:
        """Skip an unsent delivery. A send in progress is not stopped, but is not retried."""
        async with self._sessions.begin() as session:
            row = await deliveries.lock_delivery(session, *_key(request, request.channel))
            if row is None:
                return NOT_PLANNED
            if row.status in UNSENT:
                row.status, row.last_error = DeliveryStatus.SKIPPED, request.reason
            return _outcome(row)

    async def _begin(self, request: _Request, channels: Sequence[Channel]) -> EventToSend | None:
        rules: dict[str, SendRule] = {channel: self._senders[channel].rule for channel in channels}
        async with self._sessions() as session:
            ids = (request.shop_id, request.redemption_id, request.event)
            return await deliveries.begin_sends(session, *ids, rules)

    async def _are_unsent(self, request: _Request) -> bool:
        async with self._sessions() as session:
            rows = await deliveries.list_unsent(session, [request.redemption_id])
        return any(row.event == request.event for row in rows)

    async def _send(self, request: _Request, channel: Channel, event: EventToSend) -> DeliveryOutcome | Postponed:
        outcome = await self._sent(request, channel, event)
        counted = metrics.RETRIED if isinstance(outcome, Postponed) else outcome.status
        metrics.DELIVERIES.labels(channel, counted).inc()
        return outcome

    async def _sent(self, request: _Request, channel: Channel, event: EventToSend) -> DeliveryOutcome | Postponed:
        sender = self._senders[channel]
        try:
            await sender.send(event)
        except NoRecipient as error:
            return await self._settle(request, channel, DeliveryStatus.SKIPPED, error.reason)
        except NotExecuted as error:
            return await self._postpone(request, channel, error)
        except Refused as error:
            raise_alarm(error)
            return await self._settle(request, channel, DeliveryStatus.FAILED, error.reason)
        except Unknown as error:
            if not sender.rule.repeatable:
                return await self._settle(request, channel, DeliveryStatus.UNKNOWN, error.reason)
            return await self._postpone(request, channel, error)
        return await self._settle(request, channel, DeliveryStatus.SENT)

    async def _postpone(self, request: _Request, channel: Channel, error: NotExecuted | Unknown) -> Postponed:
        is_held = isinstance(error, NotExecuted) and error.is_held
        async with self._sessions() as session:
            await deliveries.keep_pending(session, *_key(request, channel), reason=error.reason, is_held=is_held)
        wait = error.retry_after if isinstance(error, NotExecuted) else None
        seconds = None if wait is None else wait.total_seconds()
        return Postponed(failure=type(error).__name__, reason=str(error), seconds=seconds)

    async def _settle(
        self, request: _Request, channel: Channel, status: DeliveryStatus, reason: str | None = None
    ) -> DeliveryOutcome:
        async with self._sessions() as session:
            settled = await deliveries.settle(session, *_key(request, channel), status=status, reason=reason)
        return DeliveryOutcome(status=settled[0], reason=settled[1])

    async def _reopen(self, request: Deliver) -> None:
        async with self._sessions.begin() as session:
            row = await deliveries.lock_delivery(session, *_key(request, request.channel))
            if row is not None and row.status is DeliveryStatus.FAILED:
                row.status, row.attempted_at = DeliveryStatus.PENDING, None

    async def _settle_unsendable(self, request: Deliver) -> DeliveryOutcome:
        """The outcome of a delivery that must not be sent: it is settled, too old, or may have been sent."""
        rule = self._senders[request.channel].rule
        async with self._sessions.begin() as session:
            row = await deliveries.lock_delivery(session, *_key(request, request.channel))
            if row is None:
                return NOT_PLANNED
            if row.status is DeliveryStatus.PENDING and row.attempted_at is not None and not rule.repeatable:
                # A worker died between recording the attempt and its outcome. A second text message is worse than none.
                row.status, row.last_error = DeliveryStatus.UNKNOWN, "the worker stopped during the send"
            elif row.status is DeliveryStatus.PENDING:
                assert rule.max_age is not None
                assert await transactions.now(session) - row.created_at > rule.max_age
                hours = rule.max_age.total_seconds() / 3600
                row.status, row.last_error = DeliveryStatus.SKIPPED, f"older than {hours:.0f} hours"
            return _outcome(row)


def _is_first_execution(info: activity.Info) -> bool:
    """Whether this is the first attempt, and not one after an operator has reset the activity."""
    return info.attempt == 1 and info.current_attempt_scheduled_time == info.scheduled_time


def _failure(postponed: Postponed) -> ApplicationError:
    wait = None if postponed.seconds is None else timedelta(seconds=postponed.seconds)
    return retryable(postponed.failure, postponed.reason, retry_after=wait)


def _is_over(outcome: DeliveryOutcome | Postponed) -> bool:
    return isinstance(outcome, DeliveryOutcome) and outcome.status not in UNSENT


def _observe_end(event: EventToSend) -> None:
    """Observe that the event's last delivery has ended."""
    age = datetime.now(UTC) - event.event.occurred_at
    metrics.LAST_DELIVERY_SECONDS.observe(age.total_seconds())


def _outcome(row: Delivery) -> DeliveryOutcome:
    return DeliveryOutcome(status=row.status, reason=row.last_error)


def _key(request: _Request, channel: Channel) -> tuple[Any, ...]:
    return request.shop_id, request.redemption_id, request.event, channel
