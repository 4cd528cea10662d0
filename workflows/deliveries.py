"""Deliver an event to every channel, and let operators retry or skip failed deliveries."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from activities.attempt import Attempt
from activities.deliveries import Deliver, DeliverAll, Deliveries, DeliveryOutcome, Postponed, SkipDelivery
from domain.channels import Channel
from domain.deliveries import DeliveryStatus
from domain.events import EventKind
from workflows.current_details import current_details
from workflows.progress import STEPS, Progress, Stage, StepState
from workflows.saga import Step, insist

Request = TypeVar("Request", Deliver, SkipDelivery)

# An attempt waits while there are purchases (`activities/precedence.py`), and then takes 12 s at most.
FIRST_SENDS_TIMEOUT = timedelta(seconds=40)

# Longer than any wait for an operator should last.
_SHOWN_WAIT = timedelta(days=365)

_STEP_STATES = {
    DeliveryStatus.SENT: StepState.DONE,
    DeliveryStatus.FAILED: StepState.REJECTED,
    DeliveryStatus.UNKNOWN: StepState.UNKNOWN,
    DeliveryStatus.SKIPPED: StepState.SKIPPED,
}


class DeliversEvent:
    """Base of the workflows that deliver an event. Waits in `NeedsAttention` while a vendor has rejected it."""

    def __init__(self, attempt: Attempt, event: EventKind, stage: Stage) -> None:
        self._attempt = attempt
        self._event = event
        self._progress = Progress(attempt=attempt, event=event, stage=stage, render=current_details)
        self._to_retry: list[Channel] = []

    async def deliver(self, *, retry_failed: Sequence[Channel] = ()) -> None:
        """Deliver to every channel in parallel. Returns when each delivery is sent, skipped or unknown.

        Deliveries that failed in an earlier workflow are retried for the channels in `retry_failed`.
        """
        channels = self._attempt.channels
        self._progress.begin_deliveries()
        first = await self._deliver_first([one for one in channels if one not in retry_failed])
        for channel, outcome in first.items():
            if isinstance(outcome, DeliveryOutcome):
                self._record(channel, outcome)
        left = [one for one in channels if one not in first or isinstance(first[one], Postponed)]
        if left or self._rejected:
            self._show_stage()
            await asyncio.gather(
                *(self._deliver_to(one, first.get(one), retry_failed=one in retry_failed) for one in channels)
            )

    async def deliver_failure(self, *, retry_failed: Sequence[Channel] = ()) -> None:
        """Deliver to webhook subscribers that the queued purchase has failed. Its points are released."""
        self._event = EventKind.PURCHASE_FAILED
        self._attempt = self._attempt.model_copy(update={"channels": [Channel.WEBHOOKS]})
        undone = {name: self._progress.steps[name] for name in STEPS[EventKind.REWARD_REDEEMED]}
        self._progress = replace(self._progress, attempt=self._attempt, event=self._event, steps=undone)
        await self.deliver(retry_failed=retry_failed)
        self._progress.finish()
        await workflow.wait_condition(workflow.all_handlers_finished)

    async def _deliver_first(self, channels: Sequence[Channel]) -> dict[Channel, DeliveryOutcome | Postponed]:
        if not channels:
            return {}
        request = DeliverAll(**self._ids, channels=channels)
        return await insist(
            Deliveries.deliver_all,
            request,
            summary=self._attempt.redemption_id,
            background=True,
            attempt_timeout=FIRST_SENDS_TIMEOUT,
        )

    @workflow.update(description="Retry the rejected deliveries of these channels.")
    async def retry_deliveries(self, channels: list[Channel]) -> None:
        """Retry rejected deliveries."""
        self._to_retry += channels

    @retry_deliveries.validator
    def _check_retry(self, channels: list[Channel]) -> None:
        rejected = [one for one in self._rejected if one not in self._to_retry]
        _check_channels(channels, among=rejected, complaint="have no rejected delivery, or are being retried")

    @workflow.signal
    def recheck_deliveries(self) -> None:
        """Retry every rejected delivery. One that was skipped in the database meanwhile ends as skipped."""
        self._to_retry += self._attempt.channels

    @workflow.update(description="Skip the deliveries of these channels, for this reason.")
    async def skip_deliveries(self, channels: list[Channel], reason: str) -> None:
        """Skip deliveries for good. A send in progress is not stopped, but is not retried."""
        for channel in channels:
            skip = SkipDelivery(**self._ids, channel=channel, reason=reason)
            await self._run(Deliveries.skip_delivery, skip, activity_id=f"skip-{channel}")

    @skip_deliveries.validator
    def _check_skip(self, channels: list[Channel], reason: str) -> None:
        _check_channels(channels, among=self._attempt.channels, complaint="are not channels of this redemption")
        if not 0 < len(reason.strip()) <= 500:
            raise ApplicationError("give a reason of 1 to 500 characters", type="BadArgument")

    async def _deliver_to(
        self, channel: Channel, first: DeliveryOutcome | Postponed | None, *, retry_failed: bool
    ) -> None:
        if not isinstance(first, DeliveryOutcome):
            await self._send(channel, retry_failed=retry_failed, postponed=first)
        while channel in self._rejected:
            await self._wait_for_operator(channel)
            if channel in self._to_retry:
                self._to_retry.remove(channel)
                await self._send(channel, retry_failed=True)
        self._show_stage()

    async def _wait_for_operator(self, channel: Channel) -> None:
        """Wait for a retry or skip. A timer shows the wait in the Temporal UI's timeline; its end changes nothing."""

        def is_over() -> bool:
            return channel in self._to_retry or channel not in self._rejected

        if workflow.patched("operator-timer"):
            summary = f"waits for an operator: {channel} rejected the event"
            with suppress(TimeoutError):
                await workflow.wait_condition(is_over, timeout=_SHOWN_WAIT, timeout_summary=summary)
        await workflow.wait_condition(is_over)

    async def _send(self, channel: Channel, *, retry_failed: bool, postponed: Postponed | None = None) -> None:
        self._progress.set_step(channel, StepState.IN_PROGRESS)
        self._show_stage()
        request = Deliver(**self._ids, channel=channel, retry_failed=retry_failed, postponed=postponed)
        await self._run(Deliveries.deliver, request, activity_id=channel)
        self._show_stage()

    async def _run(self, step: Step[Request, DeliveryOutcome], request: Request, *, activity_id: str) -> None:
        summary = f"{request.channel} · {request.redemption_id}"
        self._record(
            request.channel, await insist(step, request, summary=summary, activity_id=activity_id, background=True)
        )

    def _record(self, channel: Channel, outcome: DeliveryOutcome) -> None:
        self._progress.set_step(channel, _STEP_STATES[outcome.status], outcome.reason)

    def _show_stage(self) -> None:
        self._progress.enter_stage(Stage.NEEDS_ATTENTION if self._rejected else Stage.DELIVERING)

    @property
    def _rejected(self) -> list[str]:
        return self._progress.steps_in(StepState.REJECTED)

    @property
    def _ids(self) -> dict[str, Any]:
        attempt = self._attempt
        return {"shop_id": attempt.shop_id, "redemption_id": attempt.redemption_id, "event": self._event}


def _check_channels(channels: Sequence[str], *, among: Sequence[str], complaint: str) -> None:
    wrong = sorted(set(channels) - set(among))
    if wrong or not channels or len(set(channels)) != len(channels):
        possible = ", ".join(among) or "none"
        raise ApplicationError(f"{', '.join(wrong) or 'these'} {complaint}; possible: {possible}", type="BadArgument")
