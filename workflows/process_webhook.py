"""Process one webhook of Shopify's, until it is done."""

from temporalio import workflow

from activities.webhooks import ReceivedWebhook, Webhooks
from workflows.saga import insist
from workflows.telling import webhook_details


@workflow.defn
class ProcessWebhook:
    """The run of one webhook. Safe to repeat: what is processed is not processed again."""

    @workflow.run
    async def run(self, received: ReceivedWebhook) -> None:
        """A large shop is erased some customers at a time; everything else is one step."""
        workflow.set_current_details(webhook_details(received.topic))
        while not await insist(Webhooks.process_webhook, received, about=received.topic):
            pass
