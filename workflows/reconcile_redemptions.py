"""Start recovery workflows for orphaned redemptions, refunds and webhooks, then check codes and prune old rows.

Started every minute.
"""

from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.attempt import Attempt
from activities.drift import Drift
from activities.metafields import Metafields
from activities.reconciliation import Reconciliation
from activities.webhooks import ReceivedWebhook, Webhooks
from domain.events import EventKind
from domain.ids import webhook_workflow_id
from workflows.current_details import reconciliation_details
from workflows.process_webhook import ProcessWebhook
from workflows.progress import shop_attributes
from workflows.recovery import start_child, start_recovery
from workflows.saga import INSIST_TIMEOUT, Step, background_queue, insist

_REISSUES = "reissues"
"""Patch: reissues are reconciled too."""

Result = TypeVar("Result", int, list[Attempt], list[ReceivedWebhook])


@workflow.defn
class ReconcileRedemptions:
    """One reconciliation."""

    def __init__(self) -> None:
        self._orphaned: list[Attempt] = []
        self._results: dict[str, str] = {}

    @workflow.run
    async def run(self) -> int:
        """Run every step once. Returns the number of orphaned redemptions, refunds and reissues."""
        self._orphaned = await insist(
            Reconciliation.find_orphaned_redemptions, None, summary="without open workflow", background=True
        )
        for attempt in self._orphaned:
            await start_recovery(attempt, EventKind.REWARD_REDEEMED)
        refunds = await self._try(Reconciliation.find_orphaned_refunds) or []
        for attempt in refunds:
            await start_recovery(attempt, EventKind.REWARD_REFUNDED)
        reissues = await self._try(Reconciliation.find_orphaned_reissues) or [] if workflow.patched(_REISSUES) else []
        for attempt in reissues:
            await start_recovery(attempt, EventKind.REWARD_REISSUED)
        for webhook in await self._try(Webhooks.find_unprocessed_webhooks) or []:
            await _process(webhook)
        await self._try(Reconciliation.recheck_idle_workflows)
        await self._try(Metafields.sync_metafields)
        await self._try(Drift.check_codes)
        await self._try(Reconciliation.prune_idempotency_keys)
        await self._try(Webhooks.prune_webhooks)
        return len(self._orphaned) + len(refunds) + len(reissues)

    async def _try(self, step: Step[None, Result]) -> Result | None:
        """Run a step that must not delay the next reconciliation: what fails is left to it."""
        self._show(step, "in progress")
        try:
            result = await workflow.execute_activity_method(
                step,
                None,
                task_queue=background_queue(workflow.info().task_queue),
                activity_id=step.__name__,
                schedule_to_close_timeout=INSIST_TIMEOUT,
            )
        except ActivityError as error:
            workflow.logger.warning("step left to the next reconciliation: %s", error.cause)
            self._show(step, "failed, left to the next reconciliation")
            return None
        self._show(step, str(len(result) if isinstance(result, list) else result))
        return result

    def _show(self, step: Step[None, Any], result: str) -> None:
        self._results[step.__name__] = result
        workflow.set_current_details(reconciliation_details(self._orphaned, self._results))


async def _process(webhook: ReceivedWebhook) -> None:
    workflow_id = webhook_workflow_id(webhook.shop_domain, webhook.webhook_id)
    attributes = shop_attributes(webhook.shop_domain)
    await start_child(ProcessWebhook.run, webhook, workflow_id, attributes, summary=webhook.topic)
