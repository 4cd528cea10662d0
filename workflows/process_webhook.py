"""Process one Shopify webhook, retried until it is processed."""

from temporalio import workflow

from activities.webhooks import ReceivedWebhook, Webhooks
from workflows.current_details import webhook_details
from workflows.saga import insist


@workflow.defn
class ProcessWebhook:
    """One webhook. Safe to repeat: a processed webhook is not processed again."""

    @workflow.run
    async def run(self, received: ReceivedWebhook) -> None:
        """Repeat the step until nothing is left. A large shop is erased in batches of customers."""
        workflow.set_current_details(webhook_details(received.topic))
        while not await insist(Webhooks.process_webhook, received, summary=received.topic, background=True):
            pass
