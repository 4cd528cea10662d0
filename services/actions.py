"""What can be done about a redemption just now, be its purchase unfinished or its refund: planned, and not yet done."""

from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from temporalio.client import Client

from activities.housekeeping import PATIENCE
from clients.temporal import find_open_workflow
from database import Sessions
from db import transactions
from db.stuck import Case, cases
from db.tables import Delivery
from domain.channels import Channel
from domain.events import EventKind, named

Verb = Literal["retry", "try_now", "skip", "restart"]


@dataclass(frozen=True, kw_only=True)
class Action:
    """One thing to do about one attempt, or its refund.

    `retry` has a refused delivery tried again, `try_now` one that waits for its next try, `skip` leaves it untold.
    `restart` has a run follow one that is gone, which tries the channels in `again` although they refused before.
    """

    verb: Verb
    case: Case
    run: str | None = None
    delivery: Delivery | None = None
    again: Sequence[Channel] = ()

    @property
    def channel(self) -> Channel:
        """The channel concerned; a restart has none."""
        assert self.delivery is not None
        return Channel(self.delivery.channel)

    @property
    def mark(self) -> str:
        """The try that the operator answers, of which there is one."""
        assert self.delivery is not None
        verb = "skip" if self.verb == "skip" else "retry"
        return f"{verb}-{self.case.event}-{self.channel}-{self.delivery.attempts}"

    def facts(self) -> dict[str, Any]:
        """What is to be done, for programs."""
        channels = self.again if self.verb == "restart" else [self.channel]
        return {"action": self.verb, "event": self.case.event, "channels": channels, "run": self.run}

    def __str__(self) -> str:
        """What is to be done, for people."""
        match self.verb:
            case "restart":
                refunded = self.case.event is EventKind.REWARD_REFUNDED
                what = "resume the refund" if refunded else f"settle attempt {self.case.attempt.number}"
                return f"{what}, retry {', '.join(self.again)}" if self.again else what
            case "try_now":
                return f"try {named(self.channel, self.case.event)} now"
            case verb:
                return f"{verb} {named(self.channel, self.case.event)}"


@dataclass(frozen=True, kw_only=True)
class Plans:
    """Plans actions on redemptions, each as of now."""

    store: Sessions
    temporal: Client

    async def retry(self, redemption_id: str, channels: Collection[Channel] = ()) -> list[Action]:
        """Have these channels (or all) tried again. Where the run that should is gone, another follows it."""
        planned: list[Action] = []
        async for case, run in self._cases(redemption_id):
            undelivered = _of(channels, case.undelivered)
            if run is not None:
                planned += [
                    Action(verb="retry" if one.status == "failed" else "try_now", case=case, run=run, delivery=one)
                    for one in undelivered
                    if one.attempts > 0
                ]
            elif undelivered or not channels:
                planned += await self._restart(case, undelivered)
        return planned

    async def skip(self, redemption_id: str, channels: Collection[Channel]) -> list[Action]:
        """Leave these channels untold."""
        return [
            Action(verb="skip", case=case, run=run, delivery=one)
            async for case, run in self._cases(redemption_id)
            for one in _of(channels, case.undelivered)
        ]

    async def redrive(self, redemption_id: str) -> list[Action]:
        """Whatever brings it to its end: retry what was refused, have a run follow the one that is gone."""
        planned: list[Action] = []
        async for case, run in self._cases(redemption_id):
            if run is None:
                planned += await self._restart(case, case.undelivered)
            else:
                failed = case.in_status("failed")
                planned += [Action(verb="retry", case=case, run=run, delivery=one) for one in failed]
        return planned

    async def _cases(self, redemption_id: str) -> AsyncGenerator[tuple[Case, str | None]]:
        """What is unfinished about the redemption, with the run that has it in hand, as of now."""
        async with self.store() as session:
            now = await transactions.now(session)
        async for page in cases(self.store, before=now, among=[redemption_id]):
            for case in page:
                yield case, await find_open_workflow(self.temporal, case.attempt.runs)

    async def _restart(self, case: Case, undelivered: Sequence[Delivery]) -> list[Action]:
        """A step of the run that is gone may still be under way; after the reconciler's patience it is not."""
        async with self.store() as session:
            is_late = case.since < await transactions.now(session) - PATIENCE
        again = [Channel(one.channel) for one in undelivered if one.status == "failed"]
        return [Action(verb="restart", case=case, again=again)] if is_late else []


def _of(channels: Collection[Channel], deliveries: Sequence[Delivery]) -> list[Delivery]:
    return [one for one in deliveries if not channels or one.channel in channels]
