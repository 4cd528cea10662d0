"""The forward side of a redemption, and of its refund: every channel is told, or an operator says to leave it."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from activities.attempt import Attempt
from activities.deliveries import Deliver, Delivered, Deliveries, DeliveryStatus, SkipDelivery
from domain.channels import Channel
from workflows.journal import Journal
from workflows.saga import Step, insist
from workflows.stages import Stage
from workflows.telling import State, Story

Order = TypeVar("Order", Deliver, SkipDelivery)

_STATES: dict[DeliveryStatus, State] = {
    "sent": State.DONE,
    "failed": State.REFUSED,
    "unknown": State.UNKNOWN,
    "skipped": State.SKIPPED,
}


class DeliversRedemption:
    """A workflow that delivers, and waits in `NeedsAttention` while a vendor has refused for good."""

    def __init__(self, attempt: Attempt, story: Story, stage: Stage) -> None:
        self._attempt = attempt
        self._event = story.event
        self._journal = Journal(attempt, story, stage)
        self._to_retry: list[Channel] = []

    async def deliver(self, *, again: Sequence[Channel] = ()) -> None:
        """Tell every channel, side by side, those in `again` even if they refused before.

        Ends when each was told, or need not be any more.
        """
        self._journal.enter(Stage.DELIVERING)
        await asyncio.gather(*(self._deliver_to(one, again=one in again) for one in self._attempt.channels))

    @workflow.update(description="Try these channels again, now that what their vendor refused has been mended.")
    async def retry_deliveries(self, channels: list[Channel]) -> None:
        """Try refused deliveries again."""
        self._to_retry += channels

    @retry_deliveries.validator
    def _check_retry(self, channels: list[Channel]) -> None:
        waiting = [one for one in self._refused if one not in self._to_retry]
        _demand(channels, among=waiting, saying="were not refused, or are being tried")

    @workflow.signal
    def look_again(self) -> None:
        """What was not told need not be any more. A channel that refused finds that out by another try."""
        self._to_retry += self._attempt.channels

    @workflow.update(description="Leave these channels untold, for this reason.")
    async def skip_deliveries(self, channels: list[Channel], reason: str) -> None:
        """Give deliveries up. One that is being tried is left at its next try."""
        for channel in channels:
            skip = SkipDelivery(**self._whose, channel=channel, reason=reason)
            await self._do(Deliveries.skip_delivery, skip, activity_id=f"skip-{channel}")

    @skip_deliveries.validator
    def _check_skip(self, channels: list[Channel], reason: str) -> None:
        _demand(channels, among=self._attempt.channels, saying="are not channels of this redemption")
        if not 0 < len(reason.strip()) <= 500:
            raise ApplicationError("give a reason of 1 to 500 characters", type="BadArgument")

    async def _deliver_to(self, channel: Channel, *, again: bool) -> None:
        await self._tell(channel, again=again)
        while channel in self._refused:
            await workflow.wait_condition(lambda: channel in self._to_retry or channel not in self._refused)
            if channel in self._to_retry:
                self._to_retry.remove(channel)
                await self._tell(channel, again=True)
        self._show_stage()

    async def _tell(self, channel: Channel, *, again: bool) -> None:
        self._journal.note(channel, State.UNDER_WAY)
        self._show_stage()
        order = Deliver(**self._whose, channel=channel, again=again)
        await self._do(Deliveries.deliver, order, activity_id=channel)
        self._show_stage()

    async def _do(self, step: Step[Order, Delivered], order: Order, *, activity_id: str) -> None:
        about = f"{order.channel} · {order.redemption_id}"
        outcome = await insist(step, order, about=about, activity_id=activity_id)
        self._journal.note(order.channel, _STATES[outcome.status], outcome.reason)

    def _show_stage(self) -> None:
        self._journal.enter(Stage.NEEDS_ATTENTION if self._refused else Stage.DELIVERING)

    @property
    def _refused(self) -> list[str]:
        return self._journal.those(State.REFUSED)

    @property
    def _whose(self) -> dict[str, Any]:
        ids = {"shop_id": self._attempt.shop_id, "redemption_id": self._attempt.redemption_id}
        return {**ids, "event": self._event}


def _demand(channels: Sequence[str], *, among: Sequence[str], saying: str) -> None:
    wrong = sorted(set(channels) - set(among))
    if wrong or not channels or len(set(channels)) != len(channels):
        listed = ", ".join(among) or "none"
        raise ApplicationError(f"{', '.join(wrong) or 'these'} {saying}; possible: {listed}", type="BadArgument")
