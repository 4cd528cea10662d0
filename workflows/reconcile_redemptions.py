"""Find redemptions, refunds and webhooks that nobody is working on, and have each seen to; then tidy up.

Started every minute.
"""

from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import TypedSearchAttributes
from temporalio.exceptions import ActivityError, WorkflowAlreadyStartedError

from activities.attempt import Attempt
from activities.drift import Drift
from activities.housekeeping import Housekeeping
from activities.metafields import Metafields
from activities.webhooks import ReceivedWebhook, Webhooks
from domain.events import EventKind
from domain.redemptions import webhook_run_id
from workflows.process_webhook import ProcessWebhook
from workflows.saga import INSIST_TIMEOUT, Step, insist
from workflows.stages import Stage, of_shop, searchable
from workflows.successors import successor
from workflows.telling import round_details

Result = TypeVar("Result", int, list[Attempt], list[ReceivedWebhook])


@workflow.defn
class ReconcileRedemptions:
    """One round."""

    def __init__(self) -> None:
        self._stranded: list[Attempt] = []
        self._results: dict[str, str] = {}

    @workflow.run
    async def run(self) -> int:
        """Start a settlement for each stranded attempt, and each stranded refund again; returns how many."""
        self._stranded = await insist(Housekeeping.find_stranded_attempts, None, about="without a live run")
        for attempt in self._stranded:
            await _take_up(attempt, EventKind.REWARD_REDEEMED)
        refunds = await self._try_to(Housekeeping.find_stranded_refunds) or []
        for attempt in refunds:
            await _take_up(attempt, EventKind.REWARD_REFUNDED)
        for webhook in await self._try_to(Webhooks.find_waiting_webhooks) or []:
            await _process(webhook)
        await self._try_to(Housekeeping.wake_idle_runs)
        await self._try_to(Metafields.sync_metafields)
        await self._try_to(Drift.check_codes)
        await self._try_to(Housekeeping.prune_idempotency_keys)
        await self._try_to(Webhooks.prune_webhooks)
        return len(self._stranded) + len(refunds)

    async def _try_to(self, step: Step[None, Result]) -> Result | None:
        """What can as well be done in the next round must not keep this one, and the settlements after it, waiting."""
        self._note(step, "under way")
        try:
            found = await workflow.execute_activity_method(
                step, None, activity_id=step.__name__, schedule_to_close_timeout=INSIST_TIMEOUT
            )
        except ActivityError as error:
            workflow.logger.warning("left to the next round: %s", error.cause)
            self._note(step, "left to the next round")
            return None
        self._note(step, str(len(found) if isinstance(found, list) else found))
        return found

    def _note(self, step: Step[None, Any], result: str) -> None:
        self._results[step.__name__] = result
        workflow.set_current_details(round_details(self._stranded, self._results))


async def _take_up(attempt: Attempt, event: EventKind) -> None:
    run = successor(attempt, event)
    found_by = searchable(attempt, Stage.COMPENSATING)
    await _start(run.story, attempt, run.id, found_by, summary=run.summary, details=run.details)


async def _process(webhook: ReceivedWebhook) -> None:
    run_id = webhook_run_id(webhook.shop_domain, webhook.webhook_id)
    await _start(ProcessWebhook.run, webhook, run_id, of_shop(webhook.shop_domain), summary=webhook.topic)


async def _start(
    run: Any, about: Any, run_id: str, found_by: TypedSearchAttributes, *, summary: str, details: str | None = None
) -> None:
    try:
        await workflow.start_child_workflow(
            run,
            about,
            id=run_id,
            # It lives on when this round is over.
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            static_summary=summary,
            static_details=details,
            search_attributes=found_by,
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.info("%s is under way already", run_id)
