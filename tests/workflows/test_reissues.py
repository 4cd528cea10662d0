"""A code whose order was cancelled: the customer gets a new one, announced on every channel."""

from datetime import timedelta

import pytest

from activities.order_webhooks import order_cancelled
from clients.shopify_webhooks import Order
from db import shops
from domain.ids import refund_workflow_id, reissue_workflow_id
from tests.builders import a_customer, a_lot, a_reward, a_shop
from tests.faults import VendorFault
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_for_end, wait_until
from tests.workflows.situations import exists
from tests.workflows.webhook_bodies import an_order

ORDER = "820982911946154508"
"""Id of `an_order`."""


async def a_shop_with(service: Service, policy: str) -> Shop:
    return await service.open_shop(a_shop(a_customer(a_lot(700)), rewards=[a_reward(on_order_cancelled=policy)]))


async def cancel(shop: Shop, code: str) -> None:
    await shop.use_code(code)
    order = an_order(code)
    await shop.process_webhook("orders/cancelled", {**order, "cancelled_at": order["created_at"]})


async def end_of(service: Service, workflow_id: str) -> str:
    """Wait until the workflow has started and ended; returns its status."""
    workflow = service.temporal.get_workflow_handle(workflow_id)
    await wait_until(lambda: exists(workflow))
    return await wait_for_end(workflow)


async def entry(shop: Shop, redemption: str) -> dict[str, object]:
    return (await shop.get(f"/v1/reward-history/{redemption}")).json()["data"]["attributes"]


@pytest.mark.recorded
async def test_a_cancelled_order_gives_a_new_code(service: Service) -> None:
    shop = await a_shop_with(service, "reissue")
    redemption = await shop.buy()
    bought = await entry(shop, redemption)

    await cancel(shop, str(bought["discount_code"]))
    assert await end_of(service, reissue_workflow_id(redemption, ORDER)) == "COMPLETED"

    reissued = await entry(shop, redemption)
    assert (reissued["status"], reissued["is_refunded"], reissued["redeemed_at"]) == ("active", False, None)
    assert reissued["discount_code"] != bought["discount_code"]
    assert [one["code"] for one in await shop.discounts("live")] == [reissued["discount_code"]]
    assert set((await shop.deliveries("reward_reissued")).values()) == {"sent"}
    event = (await service.vendor("klaviyo"))["events"][-1]["data"]["attributes"]
    assert event["metric"]["data"]["attributes"]["name"] == "Reward Reissued"
    assert event["properties"]["discount_code"] == reissued["discount_code"]
    receipt = (await shop.get(f"/v1/reward-history/{redemption}/receipt")).json()["data"]["attributes"]
    assert [(one["order_id"], one["status"]) for one in receipt["reissues"]] == [(ORDER, "done")]
    assert "reissued, the customer has the new code" in [step["what"] for step in receipt["steps"]]
    assert await service.audit() == []


async def test_a_cancelled_order_refunds_the_points(service: Service) -> None:
    shop = await a_shop_with(service, "refund_points")
    redemption = await shop.buy()

    await cancel(shop, str((await entry(shop, redemption))["discount_code"]))
    assert await end_of(service, refund_workflow_id(redemption)) == "COMPLETED"

    refunded = await entry(shop, redemption)
    assert (refunded["status"], refunded["is_refunded"], await shop.balance()) == ("expired", True, 700)
    assert set((await shop.deliveries("reward_refunded")).values()) == {"sent"}


@pytest.mark.recorded
async def test_a_reissue_without_workflow_is_recovered(service: Service) -> None:
    shop = await a_shop_with(service, "reissue")
    redemption = await shop.buy()
    code = str((await entry(shop, redemption))["discount_code"])
    order = an_order(code)
    async with service.store.begin() as session:
        row = await shops.get_shop(session, (await shop.row()).id)
        await order_cancelled(session, row, Order.model_validate({**order, "cancelled_at": order["created_at"]}))
    await service.let_time_pass(timedelta(minutes=1))

    await service.reconcile()
    assert await end_of(service, reissue_workflow_id(redemption, ORDER)) == "COMPLETED"

    assert (await entry(shop, redemption))["status"] == "active"


@pytest.mark.recorded
async def test_an_order_that_comes_during_the_reissue_refuses_it(service: Service) -> None:
    shop = await a_shop_with(service, "reissue")
    redemption = await shop.buy()
    code = str((await entry(shop, redemption))["discount_code"])
    await service.inject("shopify", VendorFault.UNAUTHORIZED, times=None)
    order = an_order(code)
    await shop.process_webhook("orders/cancelled", {**order, "cancelled_at": order["created_at"]})
    await shop.process_webhook("orders/create", an_order(code, id=2))
    await service.clear_faults("shopify")

    assert await end_of(service, reissue_workflow_id(redemption, ORDER)) == "COMPLETED"

    assert (await entry(shop, redemption))["status"] == "used"
    assert await shop.discounts("live") == []
    assert await service.audit() == []
