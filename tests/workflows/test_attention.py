"""A rejected delivery waits for an operator."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowUpdateFailedError
from temporalio.converter import DataConverter

from tests.faults import VendorFault
from tests.service import Service
from tests.shop import Shop
from tests.waiting import stage_of, wait_for_stage, wait_until
from tests.workflows.situations import (
    Workflow,
    buy_rejected,
    details_of,
    send_update,
    wait_for_details,
)

RETRY = ("retry_deliveries", ["klaviyo"])
SKIP = ("skip_deliveries", ["klaviyo"], "the shop has left Klaviyo")


@pytest.fixture
async def redemption(shop: Shop) -> str:
    return await buy_rejected(shop)


@pytest.fixture
def workflow(service: Service, redemption: str) -> Workflow:
    """The purchase, which waits because Klaviyo has rejected the event."""
    return service.purchase_workflow(redemption)


@pytest.mark.recorded
async def test_a_retry_delivers(service: Service, shop: Shop, redemption: str, workflow: Workflow) -> None:
    assert (await shop.deliveries())["klaviyo"] == "failed"

    await send_update(workflow, *RETRY)

    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    assert set((await shop.deliveries()).values()) == {"sent"}
    assert len((await service.vendor("klaviyo"))["events"]) == 1


@pytest.mark.recorded
async def test_a_skip_ends_the_workflow(service: Service, shop: Shop, redemption: str, workflow: Workflow) -> None:
    await send_update(workflow, *SKIP)

    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    assert (await shop.deliveries())["klaviyo"] == "skipped"
    assert "- Deliver to `klaviyo`: **skipped**, `the shop has left Klaviyo`" in await details_of(workflow)


@pytest.mark.recorded
async def test_the_timeline_shows_the_wait(service: Service, redemption: str, workflow: Workflow) -> None:
    converter, history = service.temporal.data_converter, await workflow.fetch_history()
    summaries = [await summary_of(one, converter) for one in history.events if is_timer(one)]
    assert "waits for an operator: klaviyo rejected the event" in summaries

    await send_update(workflow, *RETRY)

    assert await service.wait_for_purchase(redemption) == "COMPLETED"


def is_timer(event: HistoryEvent) -> bool:
    return event.event_type == EventType.EVENT_TYPE_TIMER_STARTED


async def summary_of(event: HistoryEvent, converter: DataConverter) -> str:
    [summary] = await converter.decode([event.user_metadata.summary])
    return summary


async def refund(shop: Shop, redemption: str) -> None:
    assert (await shop.refund(redemption)).status_code == 200


async def erase(shop: Shop, _: str) -> None:
    await shop.process_webhook("customers/delete", {"id": int(shop.customers[0])})
    await shop.wait_for_delivery("klaviyo", "skipped")


@pytest.mark.parametrize("skip", [refund, erase])
async def test_the_reconciler_ends_idle_workflows(
    shop: Shop, redemption: str, workflow: Workflow, skip: Callable[[Shop, str], Awaitable[None]]
) -> None:
    await skip(shop, redemption)

    await wait_until(lambda: ends_after_reconciling(shop.service, workflow))

    assert await shop.service.wait_for_purchase(redemption) == "COMPLETED"
    assert (await shop.deliveries())["klaviyo"] == "skipped"


async def ends_after_reconciling(service: Service, workflow: Workflow) -> bool:
    await service.reconcile()
    return (await workflow.describe()).close_time is not None


async def test_the_reconciler_does_not_retry(service: Service, workflow: Workflow) -> None:
    await wait_until(lambda: is_found(service, f"WorkflowId = '{workflow.id}' AND RedemptionStage = 'NeedsAttention'"))

    await service.reconcile()

    assert await stage_of(workflow) == "NeedsAttention"
    assert await service.requests("klaviyo") == 1


async def is_found(service: Service, query: str) -> bool:
    return (await service.temporal.count_workflows(query)).count > 0


async def test_another_rejection_needs_attention_again(service: Service, shop: Shop, workflow: Workflow) -> None:
    await service.inject("klaviyo", VendorFault.FORBIDDEN)

    await send_update(workflow, *RETRY)

    await wait_for_details(workflow, "HTTP 403")
    await wait_for_stage(workflow, "NeedsAttention")
    assert (await shop.deliveries())["klaviyo"] == "failed"


@pytest.mark.parametrize(("update", "status"), [(RETRY, "sent"), (SKIP, "skipped")])
async def test_an_update_does_not_wait_for_other_vendors(
    service: Service, shop: Shop, update: tuple[str], status: str
) -> None:
    await service.inject("omnisend", VendorFault.DOWN)
    workflow = service.purchase_workflow(redemption := await buy_rejected(shop))

    await send_update(workflow, *update)

    await shop.wait_for_delivery("klaviyo", status)
    await wait_for_stage(workflow, "Delivering")
    assert (await shop.deliveries())["omnisend"] == "pending"
    await service.clear_faults("omnisend")
    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    assert (await shop.deliveries())["klaviyo"] == status


async def test_a_rejection_is_shown_during_other_deliveries(service: Service, shop: Shop) -> None:
    await service.inject("omnisend", VendorFault.DOWN)
    redemption = await buy_rejected(shop)
    workflow = service.purchase_workflow(redemption)

    text = await wait_for_details(workflow, "`klaviyo` rejected the event")

    assert "- Deliver to `omnisend`: **in progress**" in text
    assert "HTTP 401" in text
    assert f"`pointsaga retry {redemption} --channel klaviyo`" in text
    await service.clear_faults("omnisend")
    await wait_for_details(workflow, "- Deliver to `omnisend`: **done**")


MISTAKES: list[tuple[str, list[object]]] = [
    ("retry_deliveries", [["omnisend"]]),
    ("retry_deliveries", [[]]),
    ("retry_deliveries", [["klaviyo", "klaviyo"]]),
    ("skip_deliveries", [["klaviyo"], " "]),
    ("skip_deliveries", [[], "no reason"]),
]


@pytest.mark.parametrize(("update", "arguments"), MISTAKES)
async def test_mistakes_do_not_enter_the_history(workflow: Workflow, update: str, arguments: list[object]) -> None:
    with pytest.raises(WorkflowUpdateFailedError):
        await send_update(workflow, update, *arguments)

    history = (await workflow.fetch_history()).events
    accepted = [one for one in history if one.HasField("workflow_execution_update_accepted_event_attributes")]
    assert len(accepted) == 1, "only the purchase's own update"
    assert await stage_of(workflow) == "NeedsAttention"


async def test_old_events_are_skipped(service: Service, shop: Shop, redemption: str, workflow: Workflow) -> None:
    await service.let_time_pass(timedelta(hours=25))

    await send_update(workflow, *RETRY)

    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    assert (await shop.deliveries())["klaviyo"] == "skipped"
    assert (await service.vendor("klaviyo"))["events"] == []
