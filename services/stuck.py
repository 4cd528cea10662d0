"""Find stuck purchases and refunds: why they are stuck, since when, and what helps.

The ledger has what is unfinished, and Temporal's search has the open workflows. Both are read in pages.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from temporalio.client import Client

from activities.reconciliation import ORPHANED_AFTER
from clients.temporal import (
    OpenWorkflow,
    failed_task,
    find_open_workflow,
    open_workflows,
    search_statuses,
    search_workflow_ids,
)
from database import Sessions
from db import redemptions, transactions
from db.stuck import UnfinishedDetails, load_details
from db.tables import Delivery
from db.unfinished import EVENTS, Unfinished, list_unfinished
from domain.deliveries import DeliveryStatus
from domain.events import EventKind, channel_label
from domain.ids import parse_workflow_id
from services.health import queue_states
from services.workers import Dispatch

PAGE_SIZE = 500

# Maximum of ASYNC_PURCHASE_DEADLINE_SECONDS.
_MAX_DEADLINE = timedelta(days=1)
# What ended earlier is overdue, or was recovered.
_ENDED_WITHIN = timedelta(minutes=15)


class StuckKind(StrEnum):
    NEEDS_ATTENTION = "needs_attention"
    RUN_GONE = "run_gone"
    VENDOR_DOWN = "vendor_down"
    WORKFLOW_FAILING = "workflow_failing"
    UNFENCED = "unfenced"
    UNDECIDED = "undecided"
    NO_WORKER = "no_worker"
    REFUND_WAITS = "refund_waits"
    REISSUE_WAITS = "reissue_waits"


REDRIVABLE = frozenset({StuckKind.NEEDS_ATTENTION, StuckKind.RUN_GONE})
"""Kinds that an operator has to resume. The others continue once their cause is fixed."""


@dataclass(frozen=True)
class Remedy:
    """What to do, and the command for it. `command_for_many`: the command for all of a kind."""

    advice: str
    command: str
    command_for_many: str


REDRIVE_SHOP = "pointsaga redrive --query \"ShopDomain = '{shop}' AND RedemptionStage = 'NeedsAttention'\""
"""Retries all rejected deliveries of a shop."""

_REMEDIES = {
    StuckKind.NEEDS_ATTENTION: Remedy("fix the cause, then", "pointsaga retry {id}", REDRIVE_SHOP),
    StuckKind.RUN_GONE: Remedy("wait a minute, or", "pointsaga redrive {id}", "pointsaga redrive"),
    StuckKind.VENDOR_DOWN: Remedy("wait, or", "pointsaga retry {id}", "pointsaga retry {id} …"),
    StuckKind.WORKFLOW_FAILING: Remedy("deploy a fix; see", "pointsaga show {id}", "pointsaga show {id}"),
    StuckKind.UNFENCED: Remedy("wait for Shopify; see", "pointsaga show {id}", "pointsaga show {id}"),
    StuckKind.REFUND_WAITS: Remedy("wait for Shopify; see", "pointsaga show {id}", "pointsaga show {id}"),
    StuckKind.REISSUE_WAITS: Remedy("wait for Shopify; see", "pointsaga show {id}", "pointsaga show {id}"),
    StuckKind.UNDECIDED: Remedy("wait for the worker; see", "pointsaga show {id}", "pointsaga show {id}"),
    StuckKind.NO_WORKER: Remedy("start a worker; see", "pointsaga status", "pointsaga status"),
}


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """A stuck attempt or refund. The names are keys of `stuck --json`.

    Attributes:
        shop: the shop's domain. None: the ledger has no such attempt.
        redemption_id: None for a workflow that concerns no redemption.
        event: `reward_redeemed` for a purchase, `reward_refunded` for a refund, `reward_reissued` for a reissue. None:
            not in the ledger.
        run: workflow id of the open workflow, if there is one.
        channels: channels of the unsent deliveries.
    """

    kind: StuckKind
    shop: str | None = None
    redemption_id: str | None
    event: EventKind | None = None
    attempt: int | None
    run: str | None
    since: datetime
    why: str
    channels: Sequence[str] = ()

    @property
    def label(self) -> str:
        """The kind, in words."""
        return self.kind.replace("_", " ")

    @property
    def advice(self) -> str:
        return _REMEDIES[self.kind].advice

    @property
    def command(self) -> str:
        return self._format(_REMEDIES[self.kind].command)

    @property
    def command_for_many(self) -> str:
        return self._format(_REMEDIES[self.kind].command_for_many)

    def _format(self, command: str) -> str:
        workflow = f"temporal workflow show -w {self.run}"
        return command.format(id=self.redemption_id, shop=self.shop) if self.redemption_id else workflow


@dataclass(frozen=True, kw_only=True)
class StuckFinder:
    """Finds what is stuck. `deadline`: after which a purchase without a row in the ledger is overdue."""

    store: Sessions
    temporal: Client
    task_queue: str
    deadline: timedelta

    async def find(
        self, *, older_than: timedelta = timedelta(), among: Sequence[str] | None = None
    ) -> AsyncGenerator[Stuck]:
        """Find what should have finished this long ago. `among`: only these redemptions."""
        async with self.store() as session:
            now = await transactions.now(session)
        workflows = await open_workflows(self.temporal, task_queue=self.task_queue)
        is_working = await self._is_working()
        async for page in list_details(self.store, before=now, among=among):
            pairs = [(one, _pop_workflow(workflows, one)) for one in page]
            # What is recent is not stuck, and its workflow may not be in the search results yet.
            overdue = [pair for pair in pairs if _is_overdue(*pair, now=now)]
            matched = [pair for pair in overdue if pair[0].since < now - older_than]
            missing = [key for one, found in matched if found is None for key in one.attempt.workflow_ids]
            statuses = await search_statuses(self.temporal, missing)
            for one, workflow in matched:
                if workflow is None:
                    yield _without_workflow(one, statuses)
                else:
                    yield _with_workflow(one, workflow, is_working=is_working)
        if among is None:
            async for one in self._find_unknown(
                workflows.values(), now=now, older_than=older_than, is_working=is_working
            ):
                yield one

    async def find_ended_early(self, *, among: Sequence[str] | None = None) -> AsyncGenerator[Stuck]:
        """What was terminated or timed out lately and is unfinished, although it is not overdue yet.

        `among`: only these redemptions.
        """
        async with self.store() as session:
            now = await transactions.now(session)
        since = f"CloseTime > '{(now - _ENDED_WITHIN).isoformat()}' AND TaskQueue = '{self.task_queue}'"
        ended = await search_workflow_ids(self.temporal, f"ExecutionStatus IN ('Terminated', 'TimedOut') AND {since}")
        parsed = [parse_workflow_id(one) for one in ended]
        ids = [one[0] for one in parsed if one and (among is None or one[0] in among)]
        async for page in list_details(self.store, before=now + _MAX_DEADLINE, among=ids):
            for one in page:
                keys = one.attempt.workflow_ids
                if not set(ended).isdisjoint(keys) and await find_open_workflow(self.temporal, keys) is None:
                    found = _without_workflow(one, await search_statuses(self.temporal, keys))
                    yield replace(found, since=min(found.since, now))

    async def _is_working(self) -> bool:
        """Whether a worker answers. True if Temporal does not say."""
        [purchases, _] = await queue_states(self.temporal, self.task_queue)
        return purchases.dispatch is not Dispatch.NO_WORKER

    async def _find_unknown(
        self, workflows: Iterable[OpenWorkflow], *, now: datetime, older_than: timedelta, is_working: bool
    ) -> AsyncGenerator[Stuck]:
        """Overdue workflows for which the ledger has nothing unfinished."""
        queued = await self._queued(workflows)
        for one in workflows:
            redemption_id, attempt = parse_workflow_id(one.id) or (None, None)
            if redemption_id in queued and not one.problem:
                continue
            # Until its deadline a purchase may have written nothing to the ledger.
            limit = older_than if one.problem else max(older_than, self.deadline)
            # Refunds have no deadline, and their request is in the ledger before the workflow starts.
            is_overdue = (attempt or one.problem) and one.started_at < now - limit
            # The search may still list workflows that have just closed.
            if is_overdue and await find_open_workflow(self.temporal, [one.id]):
                problem = one.problem or (await failed_task(self.temporal, one.id) if is_working else None)
                waits = StuckKind.UNDECIDED if is_working else StuckKind.NO_WORKER
                yield Stuck(
                    kind=StuckKind.WORKFLOW_FAILING if problem else waits,
                    redemption_id=redemption_id,
                    attempt=attempt,
                    run=one.id,
                    since=one.started_at,
                    why=problem or "the workflow has not started or not completed",
                )

    async def _queued(self, workflows: Iterable[OpenWorkflow]) -> set[str]:
        """The redemptions of these workflows that wait for their turn."""
        ids = [parsed[0] for one in workflows if (parsed := parse_workflow_id(one.id))]
        async with self.store() as session:
            return await redemptions.queued_among(session, ids)


async def list_details(
    store: Sessions, *, before: datetime, among: Sequence[str] | None = None
) -> AsyncGenerator[list[UnfinishedDetails]]:
    """Pages of what should have finished before this time: attempts, then refunds. `among`: only these redemptions."""
    for event in EVENTS:
        after: Unfinished | None = None
        while True:
            async with store() as session:
                page = await list_unfinished(session, event, before=before, limit=PAGE_SIZE, after=after, among=among)
                details = await load_details(session, event, page) if page else []
            if details:
                yield details
            if len(page) < PAGE_SIZE:
                break
            after = page[-1]


def _is_overdue(details: UnfinishedDetails, workflow: OpenWorkflow | None, *, now: datetime) -> bool:
    """Whether it is stuck: it will not go on by itself, or had time to."""
    has_problem = workflow is not None and workflow.problem is not None
    return has_problem or bool(details.deliveries_in(DeliveryStatus.FAILED)) or details.since < now - ORPHANED_AFTER


def _pop_workflow(workflows: dict[str, OpenWorkflow], details: UnfinishedDetails) -> OpenWorkflow | None:
    """Remove and return the open workflow of an attempt or refund."""
    found = [workflow for one in details.attempt.workflow_ids if (workflow := workflows.pop(one, None))]
    return found[-1] if found else None


def _with_workflow(details: UnfinishedDetails, workflow: OpenWorkflow, *, is_working: bool) -> Stuck:
    rejected = details.deliveries_in(DeliveryStatus.FAILED)
    pending = details.deliveries_in(DeliveryStatus.PENDING)
    if workflow.problem:
        return _stuck(details, StuckKind.WORKFLOW_FAILING, workflow.problem, run=workflow.id)
    if rejected:
        since = min(delivery.updated_at for delivery in rejected)
        return _stuck(details, StuckKind.NEEDS_ATTENTION, _errors(rejected), run=workflow.id, since=since)
    if not is_working:
        why = f"no worker answers; {_unfinished_part(details)}"
        return _stuck(details, StuckKind.NO_WORKER, why, run=workflow.id)
    if pending:
        return _stuck(details, StuckKind.VENDOR_DOWN, _errors(pending), run=workflow.id)
    if details.event is EventKind.REWARD_REFUNDED:
        return _stuck(details, StuckKind.REFUND_WAITS, "the code is not yet removed at Shopify", run=workflow.id)
    if details.event is EventKind.REWARD_REISSUED:
        return _stuck(details, StuckKind.REISSUE_WAITS, "the new code is not yet created at Shopify", run=workflow.id)
    if details.undecided:
        why = "the deadline has passed, and the attempt is neither captured nor released"
        return _stuck(details, StuckKind.UNDECIDED, why, run=workflow.id)
    requests = f"{details.unknown_outcomes} requests with unknown outcome" if details.unknown_outcomes else "no request"
    why = f"the points are released, but the code is not yet voided: {requests}"
    return _stuck(details, StuckKind.UNFENCED, why, run=workflow.id)


def _without_workflow(details: UnfinishedDetails, statuses: dict[str, str]) -> Stuck:
    status = next((statuses[one] for one in reversed(details.attempt.workflow_ids) if one in statuses), None)
    why = f"{_unfinished_part(details)}; the workflow is {status or 'not found in Temporal'}"
    return _stuck(details, StuckKind.RUN_GONE, why)


def _unfinished_part(details: UnfinishedDetails) -> str:
    if details.undelivered:
        return f"not delivered: {', '.join(channel_label(one.channel, one.event) for one in details.undelivered)}"
    if details.event is EventKind.REWARD_REFUNDED:
        return "the refund is not done"
    if details.event is EventKind.REWARD_REISSUED:
        return "the reissue is not done"
    return "the points are reserved" if details.undecided else "the code is not voided"


def _stuck(
    details: UnfinishedDetails, kind: StuckKind, why: str, *, run: str | None = None, since: datetime | None = None
) -> Stuck:
    return Stuck(
        kind=kind,
        shop=details.attempt.shop_domain,
        redemption_id=details.redemption_id,
        event=details.event,
        attempt=details.attempt.number,
        run=run,
        since=since or details.since,
        why=why,
        channels=[delivery.channel for delivery in details.undelivered],
    )


def _errors(deliveries: Sequence[Delivery]) -> str:
    return "; ".join(
        f"{channel_label(one.channel, one.event)}: {one.last_error or 'no response'}" for one in deliveries
    )
