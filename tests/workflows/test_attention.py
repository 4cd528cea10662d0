"""A rejected delivery waits for an operator."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError

from domain.ids import purchase_workflow_id
from tests.faults import VendorFault
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_until
from tests.workflows.situations import (
    Workflow,
    buy_rejected,
    is_found,
    reconcile,
    requests,
    send_update,
    stage_of,
    wait_for_delivery,
    wait_for_stage,
)


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

    await send_update(workflow, "retry_deliveries", ["klaviyo"])

    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    assert set((await shop.deliveries()).values()) == {"sent"}
    assert len((await service.vendor("klaviyo"))["events"]) == 1


@pytest.mark.recorded
async def test_a_skip_ends_the_workflow(service: Service, shop: Shop, redemption: str, workflow: Workflow) -> None:
    await send_update(workflow, "skip_deliveries", ["klaviyo"], "the shop has left Klaviyo")

    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    assert (await shop.deliveries())["klaviyo"] == "skipped"


async def refund(shop: Shop, redemption: str) -> None:
    assert (await shop.refund(redemption)).status_code == 200


async def erase(shop: Shop, _: str) -> None:
    await shop.process_webhook("customers/delete", {"id": int(shop.customers[0])})
    await wait_for_delivery(shop, "klaviyo", "skipped")


@pytest.mark.parametrize("skip", [refund, erase])
async def test_the_reconciler_ends_idle_workflows(
    service: Service, shop: Shop, redemption: str, skip: Callable[[Shop, str], Awaitable[None]]
) -> None:
    await skip(shop, redemption)

    await wait_until(lambda: ends_after_reconciling(service, redemption))

    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    assert (await shop.deliveries())["klaviyo"] == "skipped"


async def ends_after_reconciling(service: Service, redemption: str) -> bool:
    await reconcile(service)
    return (await service.purchase_workflow(redemption).describe()).close_time is not None


async def test_the_reconciler_does_not_retry(service: Service, redemption: str, workflow: Workflow) -> None:
    query = f"WorkflowId = '{purchase_workflow_id(redemption, 1)}' AND RedemptionStage = 'NeedsAttention'"
    await wait_until(lambda: is_found(service, query))

    await reconcile(service)

    assert await stage_of(workflow) == "NeedsAttention"
    assert await requests(service, "klaviyo") == 1


async def test_another_rejection_needs_attention_again(service: Service, redemption: str, workflow: Workflow) -> None:
    await service.add_fault("klaviyo", **VendorFault.FORBIDDEN.script())

    await send_update(workflow, "retry_deliveries", ["klaviyo"])

    await wait_until(lambda: shows(service, redemption, "HTTP 403"))
    await wait_for_stage(workflow, "NeedsAttention")


async def shows(service: Service, redemption: str, text: str) -> bool:
    return text in await service.current_details(purchase_workflow_id(redemption, 1))


@pytest.fixture
async def _omnisend_down(service: Service) -> None:  # pyright: ignore[reportUnusedFunction]
    await service.add_fault("omnisend", **VendorFault.DOWN.script())


@pytest.mark.usefixtures("_omnisend_down")
async def test_a_retry_does_not_wait_for_other_vendors(
    service: Service, shop: Shop, redemption: str, workflow: Workflow
) -> None:
    await send_update(workflow, "retry_deliveries", ["klaviyo"])

    await wait_for_delivery(shop, "klaviyo", "sent")
    await wait_for_stage(workflow, "Delivering")
    assert (await shop.deliveries())["omnisend"] == "pending"
    await service.clear_faults("omnisend")
    assert await service.wait_for_purchase(redemption) == "COMPLETED"


@pytest.mark.usefixtures("_omnisend_down")
async def test_a_skip_does_not_wait_for_other_vendors(
    service: Service, shop: Shop, redemption: str, workflow: Workflow
) -> None:
    await send_update(workflow, "skip_deliveries", ["klaviyo"], "the shop has left Klaviyo")
    await service.clear_faults("omnisend")

    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    assert (await shop.deliveries())["klaviyo"] == "skipped"


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

    await send_update(workflow, "retry_deliveries", ["klaviyo"])

    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    assert (await shop.deliveries())["klaviyo"] == "skipped"
    assert (await service.vendor("klaviyo"))["events"] == []
