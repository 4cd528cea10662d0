"""The forward side of a redemption: every channel is told, or an operator says to leave it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from activities.attempt import Attempt
from activities.deliveries import Deliver, Deliveries, SkipDelivery
from domain.channels import Channel
from workflows.saga import insist
from workflows.stages import Stage, enter


class DeliversRedemption:
    """A workflow that delivers, and waits in `NeedsAttention` while a vendor has refused for good."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._stage = Stage.REDEEMING
        self._refused: list[Channel] = []
        self._skipped: list[Channel] = []

    async def deliver(self, *, again: Sequence[Channel] = ()) -> None:
        """Tell every channel, side by side, those in `again` even if they refused before.

        Ends when each was told, or need not be any more.
        """
        self._show_stage()
        await asyncio.gather(*(self._see_to(channel, again=channel in again) for channel in self._attempt.channels))

    async def _see_to(self, channel: Channel, *, again: bool) -> None:
        """Tell one channel. What another vendor does, or does not, keeps nobody from mending this one."""
        while await self._tell(channel, again=again) == "failed" and channel not in self._skipped:
            self._refused.append(channel)
            self._show_stage()
            await workflow.wait_condition(lambda: channel not in self._refused)
            self._show_stage()
            if channel in self._skipped:
                return
            again = True

    @workflow.update(description="Try these channels again, now that what their vendor refused has been mended.")
    async def retry_deliveries(self, channels: list[Channel]) -> None:
        """Try refused deliveries again."""
        self._refused = [one for one in self._refused if one not in channels]

    @retry_deliveries.validator
    def _check_retry(self, channels: list[Channel]) -> None:
        _demand(channels, among=self._refused, saying="were not refused, or are being tried")

    @workflow.update(description="Leave these channels untold, for this reason.")
    async def skip_deliveries(self, channels: list[Channel], reason: str) -> None:
        """Give deliveries up. One that is being tried is left at its next try."""
        for channel in channels:
            skip = SkipDelivery(**self._ids, channel=channel, reason=reason)
            await insist(Deliveries.skip_delivery, skip, about=self._about(channel), activity_id=f"skip-{channel}")
        self._skipped += channels
        self._refused = [one for one in self._refused if one not in channels]

    @skip_deliveries.validator
    def _check_skip(self, channels: list[Channel], reason: str) -> None:
        _demand(channels, among=self._attempt.channels, saying="are not channels of this redemption")
        if not 0 < len(reason.strip()) <= 500:
            raise ApplicationError("give a reason of 1 to 500 characters", type="BadArgument")

    async def _tell(self, channel: Channel, *, again: bool) -> str:
        order = Deliver(**self._ids, channel=channel, again=again)
        return await insist(Deliveries.deliver, order, about=self._about(channel), activity_id=channel)

    def _show_stage(self) -> None:
        stage = Stage.NEEDS_ATTENTION if self._refused else Stage.DELIVERING
        if stage is not self._stage:
            self._stage = stage
            enter(stage)

    @property
    def _ids(self) -> dict[str, Any]:
        return {"shop_id": self._attempt.shop_id, "redemption_id": self._attempt.redemption_id}

    def _about(self, channel: Channel) -> str:
        return f"{channel} · {self._attempt.redemption_id}"


def _demand(channels: Sequence[Channel], *, among: Sequence[Channel], saying: str) -> None:
    wrong = sorted(set(channels) - set(among))
    if wrong or not channels or len(set(channels)) != len(channels):
        listed = ", ".join(among) or "none"
        raise ApplicationError(f"{', '.join(wrong) or 'these'} {saying}; possible: {listed}", type="BadArgument")
