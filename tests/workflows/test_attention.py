"""A delivery that its vendor refused for good waits for an operator."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, update
from temporalio.client import WorkflowUpdateFailedError

from db.tables import Delivery
from domain.redemptions import workflow_id
from tests.service import Service, Shop, a_customer, a_lot, a_shop, until
from tests.workflows.test_reconciliation import reconcile
from workflows.progress import REDEMPTION_STAGE


@pytest.fixture
async def shop(service: Service) -> Shop:
    return await service.open_shop(a_shop(a_customer(a_lot(500))))


async def refused_by_klaviyo(shop: Shop) -> str:
    """A purchase that waits, because the shop's Klaviyo key is wrong."""
    await shop.service.fault("klaviyo", kind="status", status=401, times=1)
    redemption = (await shop.purchase()).json()["data"]["id"]
    await until(lambda: _stage_is(shop.service, redemption, "NeedsAttention"))
    return redemption


async def tell(service: Service, redemption: str, update_name: str, *arguments: object) -> None:
    """An operator's update, by name as the Temporal UI and its command line send it."""
    run = service.run_of(redemption)
    await run.execute_update(update_name, args=arguments)  # pyright: ignore[reportUnknownMemberType]


async def _is(shop: Shop, channel: str, status: str) -> bool:
    return (await shop.deliveries()).get(channel) == status


async def _stage_is(service: Service, redemption: str, stage: str) -> bool:
    description = await service.run_of(redemption).describe()
    return description.typed_search_attributes[REDEMPTION_STAGE] == stage


@pytest.mark.recorded
async def test_what_was_mended_is_sent_when_an_operator_says_retry(service: Service, shop: Shop) -> None:
    redemption = await refused_by_klaviyo(shop)
    assert (await shop.deliveries())["klaviyo"] == "failed"

    await tell(service, redemption, "retry_deliveries", ["klaviyo"])

    assert await service.end_of(redemption) == "COMPLETED"
    assert set((await shop.deliveries()).values()) == {"sent"}
    assert len((await service.vendor("klaviyo"))["events"]) == 1


@pytest.mark.recorded
async def test_what_cannot_be_mended_is_skipped_with_a_reason(service: Service, shop: Shop) -> None:
    redemption = await refused_by_klaviyo(shop)

    await tell(service, redemption, "skip_deliveries", ["klaviyo"], "the shop has left Klaviyo")

    assert await service.end_of(redemption) == "COMPLETED"
    assert (await shop.deliveries())["klaviyo"] == "skipped"


async def refund(shop: Shop, redemption: str) -> None:
    assert (await shop.refund(redemption)).status_code == 200


async def erase(shop: Shop, _: str) -> None:
    await shop.told("customers/delete", {"id": int(shop.customers[0])})
    await until(lambda: _is(shop, "klaviyo", "skipped"))


@pytest.mark.parametrize("make_unwanted", [refund, erase])
async def test_a_run_whose_news_nobody_wants_any_more_is_woken_and_ends(
    service: Service, shop: Shop, make_unwanted: Callable[[Shop, str], Awaitable[None]]
) -> None:
    redemption = await refused_by_klaviyo(shop)
    await make_unwanted(shop, redemption)

    await until(lambda: _is_over_after_a_round(service, redemption))

    assert await service.end_of(redemption) == "COMPLETED"
    assert (await shop.deliveries())["klaviyo"] == "skipped"


async def test_a_run_with_something_left_to_tell_is_left_to_the_operator(service: Service, shop: Shop) -> None:
    redemption = await refused_by_klaviyo(shop)
    query = f"WorkflowId = '{workflow_id(redemption, 1)}' AND RedemptionStage = 'NeedsAttention'"
    await until(lambda: _finds(service, query))

    await reconcile(service)

    assert await _stage_is(service, redemption, "NeedsAttention")
    assert (await service.vendor("klaviyo"))["requests"] == 1


async def _is_over_after_a_round(service: Service, redemption: str) -> bool:
    await reconcile(service)
    return (await service.run_of(redemption).describe()).close_time is not None


async def _finds(service: Service, query: str) -> bool:
    return (await service.temporal.count_workflows(query)).count > 0


async def test_what_is_refused_again_needs_attention_again(service: Service, shop: Shop) -> None:
    redemption = await refused_by_klaviyo(shop)
    await service.fault("klaviyo", kind="status", status=403, times=1)

    await tell(service, redemption, "retry_deliveries", ["klaviyo"])

    await until(lambda: _is_told(service, redemption, "HTTP 403"))
    await until(lambda: _stage_is(service, redemption, "NeedsAttention"), seconds=5)


async def _is_told(service: Service, redemption: str, words: str) -> bool:
    return words in await service.page_of(workflow_id(redemption, 1))


async def test_what_was_mended_does_not_wait_for_another_vendor(service: Service, shop: Shop) -> None:
    await service.fault("omnisend", kind="down")
    redemption = await refused_by_klaviyo(shop)

    await tell(service, redemption, "retry_deliveries", ["klaviyo"])

    await until(lambda: _is(shop, "klaviyo", "sent"))
    await until(lambda: _stage_is(service, redemption, "Delivering"))
    assert (await shop.deliveries())["omnisend"] == "pending"
    await service.heal("omnisend")
    assert await service.end_of(redemption) == "COMPLETED"


async def test_what_was_skipped_while_another_vendor_was_down_stays_skipped(service: Service, shop: Shop) -> None:
    await service.fault("omnisend", kind="down")
    redemption = await refused_by_klaviyo(shop)

    await tell(service, redemption, "skip_deliveries", ["klaviyo"], "the shop has left Klaviyo")
    await service.heal("omnisend")

    assert await service.end_of(redemption) == "COMPLETED"
    assert (await shop.deliveries())["klaviyo"] == "skipped"


SLIPS: list[tuple[str, list[object]]] = [
    ("retry_deliveries", [["omnisend"]]),
    ("retry_deliveries", [[]]),
    ("retry_deliveries", [["klaviyo", "klaviyo"]]),
    ("skip_deliveries", [["klaviyo"], " "]),
    ("skip_deliveries", [[], "no reason"]),
]


@pytest.mark.parametrize(("update_name", "arguments"), SLIPS)
async def test_an_operators_slip_is_refused_before_it_enters_the_history(
    service: Service, shop: Shop, update_name: str, arguments: list[object]
) -> None:
    redemption = await refused_by_klaviyo(shop)
    before = len((await service.run_of(redemption).fetch_history()).events)

    with pytest.raises(WorkflowUpdateFailedError):
        await tell(service, redemption, update_name, *arguments)

    history = (await service.run_of(redemption).fetch_history()).events
    assert not any(event.HasField("workflow_execution_update_accepted_event_attributes") for event in history[before:])
    assert await _stage_is(service, redemption, "NeedsAttention")


async def test_news_of_yesterday_is_not_sent_any_more(service: Service, shop: Shop) -> None:
    redemption = await refused_by_klaviyo(shop)
    async with service.store.begin() as session:
        mine = Delivery.redemption_id == redemption
        await session.execute(update(Delivery).where(mine).values(created_at=func.now() - timedelta(hours=25)))

    await tell(service, redemption, "retry_deliveries", ["klaviyo"])

    assert await service.end_of(redemption) == "COMPLETED"
    assert (await shop.deliveries())["klaviyo"] == "skipped"
    assert (await service.vendor("klaviyo"))["events"] == []
