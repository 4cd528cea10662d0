"""Find orphaned redemptions and refunds, recheck idle workflows, and prune idempotency keys."""

from collections.abc import AsyncGenerator
from dataclasses import asdict
from datetime import timedelta
from functools import partial

from temporalio import activity
from temporalio.client import Client

import metrics
from activities.attempt import Attempt
from activities.pruning import prune
from clients.temporal import find_open_workflow, open_workflows_query
from database import Sessions
from db import deliveries, idempotency, transactions
from db.unfinished import Unfinished, list_unfinished
from domain.events import EventKind
from domain.ids import parse_workflow_id, reissue_workflow_id

# Longer than an open workflow needs to record its progress, short for a customer who waits for points.
ORPHANED_AFTER = timedelta(seconds=20)
BATCH_SIZE = 200


class Reconciliation:
    """Compares the ledger with Temporal's open workflows."""

    def __init__(
        self,
        sessions: Sessions,
        temporal: Client,
        *,
        task_queue: str,
        keys_kept_for: timedelta,
        refusals_kept_for: timedelta,
    ) -> None:
        self._sessions = sessions
        self._prune_keys = partial(idempotency.prune_keys, kept_for=keys_kept_for, refusals_kept_for=refusals_kept_for)
        self._temporal = temporal
        self._open_workflows = open_workflows_query(task_queue)

    @activity.defn
    async def find_orphaned_redemptions(self, _: None) -> list[Attempt]:
        """Unfinished attempts without an open workflow."""
        return await self._find_orphaned(EventKind.REWARD_REDEEMED)

    @activity.defn
    async def find_orphaned_refunds(self, _: None) -> list[Attempt]:
        """Captured attempts with an unfinished refund without an open workflow."""
        return await self._find_orphaned(EventKind.REWARD_REFUNDED)

    @activity.defn
    async def find_orphaned_reissues(self, _: None) -> list[Attempt]:
        """Captured attempts with an unfinished reissue without an open workflow."""
        return await self._find_orphaned(EventKind.REWARD_REISSUED)

    @activity.defn
    async def recheck_idle_workflows(self, _: None) -> int:
        """Signal workflows that wait for an operator although no delivery is unsent; returns how many.

        A refund, an erasure or an uninstallation can skip the deliveries that such a workflow waits for.
        """
        query = f"{self._open_workflows} AND RedemptionStage = 'NeedsAttention'"
        waiting = {one.id: _subject(one.id) async for one in self._temporal.list_workflows(query)}
        async with self._sessions() as session:
            rows = await deliveries.list_unsent(session, [redemption_id for redemption_id, _ in waiting.values()])
        # A failed purchase is delivered by the purchase's workflow.
        purchases = (EventKind.REWARD_REDEEMED, EventKind.PURCHASE_FAILED)
        unsent = {
            (row.redemption_id, EventKind.REWARD_REDEEMED if row.event in purchases else EventKind(row.event))
            for row in rows
        }
        idle = [workflow_id for workflow_id, subject in waiting.items() if subject not in unsent]
        metrics.DRIFT_FOUND.labels("idle_workflow").inc(len(idle))
        for workflow_id in idle:
            await self._temporal.get_workflow_handle(workflow_id).signal("recheck_deliveries")
            metrics.DRIFT_SETTLED.labels("idle_workflow").inc()
        return len(idle)

    @activity.defn
    async def prune_idempotency_keys(self, _: None) -> int:
        """Delete old idempotency keys; returns how many."""
        return await prune(self._sessions, self._prune_keys)

    async def _find_orphaned(self, event: EventKind) -> list[Attempt]:
        """The oldest orphaned attempts or refunds.

        During a vendor outage thousands are unfinished and have an open workflow. From the second page on, Temporal's
        search excludes them. The search lags slightly, so the workflows of the first page are described one by one.
        """
        async with self._sessions() as session:
            before = await transactions.now(session) - ORPHANED_AFTER
        orphaned: list[Attempt] = []
        open_ids: set[str] = set()
        page: list[Unfinished] = []
        while len(orphaned) < BATCH_SIZE:
            async with self._sessions() as session:
                after = page[-1] if page else None
                page = await list_unfinished(session, event, before=before, limit=BATCH_SIZE, after=after)
            orphaned += [attempt async for attempt in self._without_workflow(page, open_ids)]
            if len(page) < BATCH_SIZE:
                break
            open_ids = open_ids or await self._open_workflow_ids()
        kind = "orphaned_redemption" if event is EventKind.REWARD_REDEEMED else "orphaned_refund"
        metrics.DRIFT_FOUND.labels(kind).inc(len(orphaned))
        return orphaned

    async def _open_workflow_ids(self) -> set[str]:
        return {one.id async for one in self._temporal.list_workflows(self._open_workflows)}

    async def _without_workflow(self, page: list[Unfinished], open_ids: set[str]) -> AsyncGenerator[Attempt]:
        for one in page:
            is_listed = not open_ids.isdisjoint(one.workflow_ids)
            if not is_listed and await find_open_workflow(self._temporal, one.workflow_ids) is None:
                yield Attempt.model_validate(asdict(one))


def _subject(workflow_id: str) -> tuple[str, EventKind]:
    """Redemption id of a workflow that waits for an operator, and what it is: a purchase, refund or reissue."""
    parsed = parse_workflow_id(workflow_id)
    assert parsed is not None, f"{workflow_id} delivers no event"
    redemption_id, attempt = parsed
    if attempt is not None:
        return redemption_id, EventKind.REWARD_REDEEMED
    is_reissue = workflow_id.startswith(reissue_workflow_id(redemption_id, ""))
    return redemption_id, EventKind.REWARD_REISSUED if is_reissue else EventKind.REWARD_REFUNDED
