"""Situations of workflows, and what operators do in them."""

from typing import Any

from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from tests.faults import VendorFault
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_for_stage, wait_until

CHANNELS = ["klaviyo", "metafields", "omnisend", "postscript"]
Workflow = WorkflowHandle[Any, Any]


async def buy_rejected(shop: Shop) -> str:
    """A purchase with an event that Klaviyo has rejected."""
    await shop.service.inject("klaviyo", VendorFault.UNAUTHORIZED)
    redemption = (await shop.purchase()).json()["data"]["id"]
    await wait_for_stage(shop.service.purchase_workflow(redemption), "NeedsAttention")
    return redemption


async def workflows_of(shop: Shop) -> list[Workflow]:
    """The workflows that Temporal's search finds."""
    temporal = shop.service.temporal
    found = temporal.list_workflows(f"ShopDomain = '{shop.domain}'")
    return [temporal.get_workflow_handle(one.id) async for one in found]


async def send_update(workflow: Workflow, name: str, *arguments: object) -> None:
    """Send an update by name, as Temporal's UI and command line do."""
    await workflow.execute_update(name, args=arguments)  # pyright: ignore[reportUnknownMemberType]


async def details_of(workflow: Workflow) -> str:
    """The workflow's current details in the Temporal UI."""
    query = workflow.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return (await query).current_details


async def wait_for_details(workflow: Workflow, words: str) -> str:
    """Wait until the current details contain these words. Returns all details."""

    async def are_shown() -> bool:
        return words in await details_of(workflow)

    await wait_until(are_shown)
    return await details_of(workflow)


async def wait_for_request(service: Service, vendor: str) -> None:
    async def is_received() -> bool:
        return await service.requests(vendor) > 0

    await wait_until(is_received)


async def exists(workflow: Workflow) -> bool:
    try:
        await workflow.describe()
    except RPCError:
        return False
    return True
