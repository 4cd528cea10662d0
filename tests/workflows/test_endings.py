"""What operators and accidents do to a run: reset to any event, terminate, lose its history."""

from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import update
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowHandle

from api.app import create_app
from db.tables import IdempotencyKey
from tests.service import Service, Shop, a_customer, a_lot, a_shop, ending, in_process

Run = WorkflowHandle[Any, Any]


@pytest.fixture
async def shop(service: Service) -> Shop:
    return await service.open_shop(a_shop(a_customer(a_lot(1200))))


async def reset_points(run: Run) -> list[int]:
    """Every event that the run can be reset to."""
    history = await run.fetch_history()
    ended = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    return [event.event_id for event in history.events if event.event_type == ended]


async def reset_everywhere(service: Service, run: Run) -> AsyncGenerator[str]:
    """Reset the run to its first event, the new run to its second, and so on; tells how each new run ended."""
    for number in range(len(await reset_points(run))):
        # A run that was reset has its own history, which can be shorter.
        points = await reset_points(run)
        await reset(service, run, points[min(number, len(points) - 1)])
        yield await ending(run)


async def reset(service: Service, run: Run, event_id: int) -> None:
    """What `temporal workflow reset --event-id` does."""
    description = await run.describe()
    await service.temporal.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=service.temporal.namespace,
            workflow_execution=WorkflowExecution(workflow_id=description.id, run_id=description.run_id),
            reason="an operator tries again",
            workflow_task_finish_event_id=event_id,
            request_id=uuid4().hex,
        )
    )


async def test_a_purchase_that_is_reset_to_any_event_is_still_made_once(service: Service, shop: Shop) -> None:
    entry = (await shop.purchase(key="once")).json()["data"]
    await service.end_of(entry["id"])

    assert {end async for end in reset_everywhere(service, service.run_of(entry["id"]))} == {"COMPLETED"}

    assert await shop.balance() == 700
    assert [one["code"] for one in await shop.discounts()] == [entry["attributes"]["discount_code"]]
    assert len((await service.vendor("postscript"))["events"]) == 1
    assert await service.audit() == []


async def test_a_failed_purchase_that_is_reset_to_any_event_charges_nobody(service: Service, shop: Shop) -> None:
    await service.fault("shopify", kind="status", status=403, times=2)
    assert (await shop.purchase()).status_code == 503
    [redemption] = await shop.redemptions()
    await service.end_of(redemption.id)
    await service.heal("shopify")

    assert {end async for end in reset_everywhere(service, service.run_of(redemption.id))} == {"FAILED"}

    assert await shop.balance() == 1200
    assert await shop.discounts("live") == []
    assert await service.audit() == []


async def test_a_refund_that_is_reset_to_any_event_is_still_made_once(service: Service, shop: Shop) -> None:
    redemption = (await shop.purchase()).json()["data"]["id"]
    await service.end_of(redemption)
    assert (await shop.refund(redemption)).status_code == 200
    await service.end_of_refund(redemption)

    assert {end async for end in reset_everywhere(service, service.refund_of(redemption))} == {"COMPLETED"}

    assert await shop.balance() == 1200
    assert len((await service.vendor("postscript"))["events"]) == len(["redeemed", "refunded"])
    assert await service.audit() == []


async def test_a_key_is_answered_without_the_engine_once_its_purchase_has_happened(
    service: Service, shop: Shop
) -> None:
    entry = (await shop.purchase(key="long ago")).json()["data"]
    async with service.store.begin() as session:
        # As if the API had died before it could keep its answer.
        undecided = update(IdempotencyKey).where(IdempotencyKey.redemption_id == entry["id"])
        await session.execute(undecided.values(status=None, body=None))
    forgetful = create_app(service.settings.model_copy(update={"temporal_address": "127.0.0.1:1"}))

    async with forgetful.router.lifespan_context(forgetful), in_process(httpx.ASGITransport(forgetful)) as api:
        answer = await shop.purchase(key="long ago", api=api)

    assert (answer.status_code, answer.json()["data"]) == (201, entry)
    assert await shop.balance() == 700
