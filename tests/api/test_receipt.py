"""What the API tells of a redemption's past."""

import re

import pytest

from tests.api.answers import error_of
from tests.builders import Json, a_customer, a_lot, a_shop
from tests.service import Service
from tests.shop import Shop


@pytest.fixture
async def shop(service: Service) -> Shop:
    return await service.open_shop(
        a_shop(a_customer(a_lot(300, days_old=20), a_lot(400)), vendors=("shopify", "klaviyo"))
    )


async def bought(shop: Shop) -> str:
    redemption = (await shop.purchase()).json()["data"]["id"]
    await shop.service.wait_for_purchase(redemption)
    return redemption


async def receipt(shop: Shop, redemption: str) -> Json:
    answer = await shop.get(f"/v1/reward-history/{redemption}/receipt")
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert (data["type"], data["id"]) == ("receipt", redemption)
    return data["attributes"]


async def test_a_receipt_tells_the_lots_the_steps_and_the_deliveries(shop: Shop) -> None:
    told = await receipt(shop, await bought(shop))

    assert (told["customer_id"], told["status"], told["points_spent"]) == (shop.customers[0], "active", 500)
    assert [(lot["attempt"], lot["points"]) for lot in told["lots"]] == [(1, 300), (1, 200)]
    assert [step["what"] for step in told["steps"]][:2] == [
        "attempt 1: 500 points reserved",
        "attempt 1: captured, the code is the customer's",
    ]
    assert {one["channel"]: one["status"] for one in told["deliveries"]} == {"klaviyo": "sent", "metafields": "sent"}
    assert told["reversals"] == []
    times = [told["expires_at"], *(one["at"] for one in told["steps"]), *(one["sent_at"] for one in told["deliveries"])]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time) for time in times)


async def test_a_refund_is_a_reversal_and_an_unmade_purchase_a_release(service: Service, shop: Shop) -> None:
    refunded = await bought(shop)
    assert (await shop.refund(refunded)).status_code == 200
    await service.wait_for_refund(refunded)
    await service.add_fault("shopify", kind="status", status=403)
    assert (await shop.purchase()).status_code == 503
    failed = (await shop.redemptions())[-1].id
    await service.wait_for_purchase(failed)

    told = [await receipt(shop, one) for one in (refunded, failed)]

    assert [one["status"] for one in told] == ["expired", "failed"]
    assert [[(back["kind"], back["points"]) for back in one["reversals"]] for one in told] == [
        [("refund", 500)],
        [("release", 500)],
    ]


async def test_a_receipt_tells_no_code(shop: Shop) -> None:
    redemption = await bought(shop)
    entry = (await shop.get(f"/v1/reward-history/{redemption}")).json()["data"]["attributes"]

    assert entry["discount_code"] not in str(await receipt(shop, redemption))


async def test_another_shops_receipt_does_not_exist(service: Service, shop: Shop) -> None:
    redemption = await bought(shop)
    stranger = await service.open_shop(a_shop(a_customer()))

    answer = await stranger.get(f"/v1/reward-history/{redemption}/receipt")

    assert (answer.status_code, error_of(answer)["code"]) == (404, "reward_history_entry_not_found")
