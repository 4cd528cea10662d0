"""Process one Shopify webhook, retried until it is processed."""

from temporalio import workflow

from activities.webhooks import ReceivedWebhook, Reversal, Webhooks
from workflows.current_details import webhook_details
from workflows.recovery import start_recovery
from workflows.saga import insist


@workflow.defn
class ProcessWebhook:
    """One webhook. Safe to repeat: a processed webhook is not processed again."""

    @workflow.run
    async def run(self, received: ReceivedWebhook) -> None:
        """Repeat the step until nothing is left. A large shop is erased in batches of customers."""
        workflow.set_current_details(webhook_details(received.topic))
        outcome: bool | list[Reversal] = False
        while not outcome:
            outcome = await insist(Webhooks.process_webhook, received, summary=received.topic, background=True)
        # The reconciler starts those that are lost here.
        for reversal in [] if outcome is True else outcome:
            await start_recovery(reversal.attempt, reversal.event)
