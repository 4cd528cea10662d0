"""Every redemption, and every refund, that is not where it should be: why, since when, and what helps.

The ledger says what is unfinished, the engine's search who is working on it. Neither is asked about one redemption at
a time.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from temporalio.client import Client, WorkflowExecutionStatus

from activities.housekeeping import PATIENCE
from clients.temporal import OpenRun, describe, endings, open_runs
from database import Sessions
from db import transactions
from db.stuck import Case, cases
from db.tables import Delivery
from domain.events import EventKind, named
from domain.redemptions import attempt_of

# The longest deadline that the settings allow: until then a run may rightly have left no trace in the ledger.
_LONGEST_PURCHASE = timedelta(minutes=5)


class Kind(StrEnum):
    """What keeps a redemption from its end."""

    NEEDS_ATTENTION = "needs_attention"
    RUN_GONE = "run_gone"
    VENDOR_DOWN = "vendor_down"
    WORKFLOW_FAILING = "workflow_failing"
    UNFENCED = "unfenced"
    UNDECIDED = "undecided"
    REFUND_WAITS = "refund_waits"


REDRIVABLE = frozenset({Kind.NEEDS_ATTENTION, Kind.RUN_GONE})
"""What somebody has to set going again. The others go on by themselves once their cause is gone."""


@dataclass(frozen=True)
class Help:
    """What to do, and the command that does it, or shows more; `for_many` is the one for all of a kind."""

    advice: str
    command: str
    for_many: str


_HELP = {
    Kind.NEEDS_ATTENTION: Help("mend it, then", "pointsaga retry {id}", "pointsaga redrive"),
    Kind.RUN_GONE: Help("wait a minute, or", "pointsaga redrive {id}", "pointsaga redrive"),
    Kind.VENDOR_DOWN: Help("wait, or", "pointsaga retry {id}", "pointsaga retry {id} …"),
    Kind.WORKFLOW_FAILING: Help("deploy a fix; see", "pointsaga show {id}", "pointsaga show {id}"),
    Kind.UNFENCED: Help("wait for Shopify; see", "pointsaga show {id}", "pointsaga show {id}"),
    Kind.REFUND_WAITS: Help("wait for Shopify; see", "pointsaga show {id}", "pointsaga show {id}"),
    Kind.UNDECIDED: Help("see that a worker runs;", "pointsaga show {id}", "pointsaga show {id}"),
}


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """One attempt that is stuck, or its refund.

    Attributes:
        redemption_id: None for a run that is not about a redemption.
        event: the purchase, or its refund; None for a run that the ledger expects nothing of.
        shop: its domain; None when the ledger has no such attempt.
        run: the workflow id of the run that has it in hand; None when there is none.
        channels: those that have not been told.
    """

    kind: Kind
    shop: str | None = None
    redemption_id: str | None
    event: EventKind | None = None
    attempt: int | None
    run: str | None
    since: datetime
    why: str
    channels: Sequence[str] = ()

    @property
    def advice(self) -> str:
        """What to do about it."""
        return _HELP[self.kind].advice

    @property
    def command(self) -> str:
        """The command that does it, or shows more."""
        return _HELP[self.kind].command.format(id=self.redemption_id) if self.shop else f"run {self.run}"

    @property
    def command_for_many(self) -> str:
        """The command for this one and others of its kind."""
        return _HELP[self.kind].for_many.format(id=self.redemption_id) if self.shop else f"run {self.run}"


@dataclass(frozen=True, kw_only=True)
class Finder:
    """Looks for what is stuck in one deployment."""

    store: Sessions
    temporal: Client
    task_queue: str

    async def find(
        self, *, older_than: timedelta = timedelta(), among: Sequence[str] | None = None
    ) -> AsyncGenerator[Stuck]:
        """What should have come to its end longer ago than this; `among` looks at these redemptions only."""
        async with self.store() as session:
            now = await transactions.now(session)
        runs = await open_runs(self.temporal, task_queue=self.task_queue)
        async for page in cases(self.store, before=now - older_than, among=among):
            # A redemption of this moment is not stuck, and its run may not be in the search yet.
            stuck = [case for case in page if case.in_status("failed") or case.since < now - PATIENCE]
            with_runs = [(case, _take(runs, case)) for case in stuck]
            ended = await self._endings([case for case, run in with_runs if run is None])
            for case, run in with_runs:
                yield _in_hand(case, run) if run else _gone(case, ended)
        if among is None:
            async for one in self._without_a_case(runs, now=now, older_than=older_than):
                yield one

    async def _endings(self, gone: list[Case]) -> dict[str, str]:
        return await endings(self.temporal, [run for case in gone for run in case.attempt.runs])

    async def _without_a_case(
        self, runs: dict[str, OpenRun], *, now: datetime, older_than: timedelta
    ) -> AsyncGenerator[Stuck]:
        """Runs that the ledger expects nothing of."""
        for run in runs.values():
            redemption_id, number = attempt_of(run.id) or (None, None)
            limit = older_than if run.problem else max(older_than, _LONGEST_PURCHASE)
            # A refund may take longer than any limit, and its wish is in the ledger before there is a run.
            is_late = (number or run.problem) and run.started_at < now - limit
            if is_late and await self._is_open(run):
                kind = Kind.WORKFLOW_FAILING if run.problem else Kind.UNDECIDED
                why = run.problem or "the run has not begun, or not ended"
                yield Stuck(
                    kind=kind, redemption_id=redemption_id, attempt=number, run=run.id, since=run.started_at, why=why
                )

    async def _is_open(self, run: OpenRun) -> bool:
        """Asked about the few that are left over: the search may not know yet that they have ended."""
        description = await describe(self.temporal, run.id)
        return description is not None and description.status is WorkflowExecutionStatus.RUNNING


def _take(runs: dict[str, OpenRun], case: Case) -> OpenRun | None:
    """The run that has the case in hand; taken out of what is left over."""
    found = [run for one in case.attempt.runs if (run := runs.pop(one, None))]
    return found[-1] if found else None


def _in_hand(case: Case, run: OpenRun) -> Stuck:
    failed, pending = case.in_status("failed"), case.in_status("pending")
    if run.problem:
        return _stuck(case, Kind.WORKFLOW_FAILING, run.problem, run=run.id)
    if failed:
        since = min(delivery.updated_at for delivery in failed)
        return _stuck(case, Kind.NEEDS_ATTENTION, _reasons(failed), run=run.id, since=since)
    if pending:
        return _stuck(case, Kind.VENDOR_DOWN, _reasons(pending), run=run.id)
    if case.event is EventKind.REWARD_REFUNDED:
        return _stuck(case, Kind.REFUND_WAITS, "its code is not removed at Shopify yet", run=run.id)
    if case.undecided:
        return _stuck(case, Kind.UNDECIDED, "the deadline has passed, and the run has not decided", run=run.id)
    asked = f"{case.unanswered} requests for it have no answer" if case.unanswered else "it was never asked for"
    return _stuck(case, Kind.UNFENCED, f"the points are back; the code is not voided yet: {asked}", run=run.id)


def _gone(case: Case, ended: dict[str, str]) -> Stuck:
    how = next((ended[run] for run in reversed(case.attempt.runs) if run in ended), None)
    return _stuck(case, Kind.RUN_GONE, f"{_left(case)}; the run is {how or 'not known to the engine'}")


def _left(case: Case) -> str:
    if case.undelivered:
        return f"not told: {', '.join(named(one.channel, one.event) for one in case.undelivered)}"
    if case.event is EventKind.REWARD_REFUNDED:
        return "the refund is not made"
    return "the points are held" if case.undecided else "the code is not voided"


def _stuck(case: Case, kind: Kind, why: str, *, run: str | None = None, since: datetime | None = None) -> Stuck:
    return Stuck(
        kind=kind,
        shop=case.attempt.shop_domain,
        redemption_id=case.redemption_id,
        event=case.event,
        attempt=case.attempt.number,
        run=run,
        since=since or case.since,
        why=why,
        channels=[delivery.channel for delivery in case.undelivered],
    )


def _reasons(deliveries: Sequence[Delivery]) -> str:
    return "; ".join(f"{named(one.channel, one.event)}: {one.last_error or 'no answer yet'}" for one in deliveries)
