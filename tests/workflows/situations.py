"""Situations of workflows, and what operators and the reconciler do in them."""

from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from tests.faults import VendorFault
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_until
from workflows.progress import REDEMPTION_STAGE
from workflows.reconcile_redemptions import ReconcileRedemptions

CHANNELS = ["klaviyo", "metafields", "omnisend", "postscript"]
Workflow = WorkflowHandle[Any, Any]


async def buy(shop: Shop) -> str:
    """A purchase that is delivered to every channel."""
    redemption = (await shop.purchase()).json()["data"]["id"]
    assert await shop.service.wait_for_purchase(redemption) == "COMPLETED"
    return redemption


async def buy_rejected(shop: Shop) -> str:
    """A purchase with an event that Klaviyo has rejected."""
    await shop.service.add_fault("klaviyo", **VendorFault.UNAUTHORIZED.script())
    redemption = (await shop.purchase()).json()["data"]["id"]
    await wait_for_stage(shop.service.purchase_workflow(redemption), "NeedsAttention")
    return redemption


async def reconcile(service: Service) -> None:
    """Run the reconciler once."""
    queue = service.settings.temporal_task_queue
    await service.temporal.execute_workflow(ReconcileRedemptions.run, id=f"reconcile-{queue}", task_queue=queue)


async def send_update(workflow: Workflow, name: str, *arguments: object) -> None:
    """Send an update by name, as Temporal's UI and command line do."""
    await workflow.execute_update(name, args=arguments)  # pyright: ignore[reportUnknownMemberType]


async def stage_of(workflow: Workflow) -> str | None:
    return (await workflow.describe()).typed_search_attributes[REDEMPTION_STAGE]


async def wait_for_stage(workflow: Workflow, stage: str) -> None:
    async def is_reached() -> bool:
        return await stage_of(workflow) == stage

    await wait_until(is_reached)


async def wait_for_delivery(shop: Shop, channel: str, status: str) -> None:
    async def is_reached() -> bool:
        return (await shop.deliveries()).get(channel) == status

    await wait_until(is_reached)


async def wait_for_request(service: Service, vendor: str) -> None:
    """Wait until the vendor has received a request."""

    async def has_requests() -> bool:
        return await requests(service, vendor) > 0

    await wait_until(has_requests)


async def requests(service: Service, vendor: str) -> int:
    return (await service.vendor(vendor))["requests"]


async def exists(workflow: Workflow) -> bool:
    try:
        await workflow.describe()
    except RPCError:
        return False
    return True


async def is_found(service: Service, query: str) -> bool:
    """Whether Temporal's search finds a workflow."""
    return (await service.temporal.count_workflows(query)).count > 0
