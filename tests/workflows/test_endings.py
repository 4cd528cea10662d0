"""Workflows that operators reset, and answers without Temporal."""

from collections.abc import AsyncGenerator
from uuid import uuid4

import pytest
from sqlalchemy import update
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

from db.tables import IdempotencyKey
from tests.builders import a_customer, a_lot, a_shop
from tests.faults import VendorFault
from tests.service import Service, serving
from tests.shop import Shop
from tests.waiting import wait_for_end
from tests.workflows.situations import Workflow


@pytest.fixture
async def shop(service: Service) -> Shop:
    """A shop whose customer can pay twice, so that a second charge would show."""
    return await service.open_shop(a_shop(a_customer(a_lot(1200))))


async def reset_points(workflow: Workflow) -> list[int]:
    """Ids of the events that the workflow can be reset to."""
    history = await workflow.fetch_history()
    completed = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    return [event.event_id for event in history.events if event.event_type == completed]


async def reset_everywhere(service: Service, workflow: Workflow) -> AsyncGenerator[str]:
    """Reset the workflow to its first event, then to its second, and so on. Yields how each new run ended."""
    for number in range(len(await reset_points(workflow))):
        # The history of a new run can be shorter.
        points = await reset_points(workflow)
        description = await workflow.describe()
        await service.temporal.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=service.temporal.namespace,
                workflow_execution=WorkflowExecution(workflow_id=description.id, run_id=description.run_id),
                reason="an operator's attempt",
                workflow_task_finish_event_id=points[min(number, len(points) - 1)],
                request_id=uuid4().hex,
            )
        )
        yield await wait_for_end(workflow)


async def test_a_reset_purchase_happens_once(service: Service, shop: Shop) -> None:
    entry = (await shop.purchase(key="once")).json()["data"]
    await service.wait_for_purchase(entry["id"])

    workflow = service.purchase_workflow(entry["id"])
    assert {end async for end in reset_everywhere(service, workflow)} == {"COMPLETED"}

    assert await shop.balance() == 700
    assert [one["code"] for one in await shop.discounts()] == [entry["attributes"]["discount_code"]]
    assert len((await service.vendor("postscript"))["events"]) == 1
    assert await service.audit() == []


async def test_a_reset_failed_purchase_charges_nothing(service: Service, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.FORBIDDEN, times=2)
    assert (await shop.purchase()).status_code == 503
    [redemption] = await shop.redemptions()
    await service.wait_for_purchase(redemption.id)
    await service.clear_faults("shopify")

    workflow = service.purchase_workflow(redemption.id)
    assert {end async for end in reset_everywhere(service, workflow)} == {"FAILED"}

    assert await shop.balance() == 1200
    assert await shop.discounts("live") == []
    assert await service.audit() == []


async def test_a_reset_refund_happens_once(service: Service, shop: Shop) -> None:
    redemption = await shop.buy()
    assert (await shop.refund(redemption)).status_code == 200
    await service.wait_for_refund(redemption)

    workflow = service.refund_workflow(redemption)
    assert {end async for end in reset_everywhere(service, workflow)} == {"COMPLETED"}

    assert await shop.balance() == 1200
    assert len((await service.vendor("postscript"))["events"]) == len(["redeemed", "refunded"])
    assert await service.audit() == []


async def test_a_captured_key_is_answered_without_temporal(service: Service, shop: Shop) -> None:
    entry = (await shop.purchase(key="long ago")).json()["data"]
    async with service.store.begin() as session:
        # As if the API had stopped before it stored its answer.
        unanswered = update(IdempotencyKey).where(IdempotencyKey.redemption_id == entry["id"])
        await session.execute(unanswered.values(status=None, body=None))

    async with serving(service.settings.model_copy(update={"temporal_address": "127.0.0.1:1"})) as api:
        answer = await shop.purchase(key="long ago", api=api)

    assert (answer.status_code, answer.json()["data"]) == (201, entry)
    assert await shop.balance() == 700
