"""GET /v1/reward-history/{id}/receipt"""

import re

from tests.api.support import attributes_of, code_of, purchased
from tests.builders import Json, a_customer, a_shop
from tests.service import Service
from tests.shop import Shop


async def receipt(shop: Shop, redemption: str) -> Json:
    answer = await shop.get(f"/v1/reward-history/{redemption}/receipt")
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert (data["type"], data["id"]) == ("receipt", redemption)
    return data["attributes"]


async def test_a_receipt_has_lots_steps_and_deliveries(shop: Shop) -> None:
    found = await receipt(shop, await purchased(shop))

    assert (found["customer_id"], found["status"], found["points_spent"]) == (shop.customers[0], "active", 500)
    assert [(lot["attempt"], lot["points"]) for lot in found["lots"]] == [(1, 300), (1, 200)]
    assert [step["what"] for step in found["steps"]][:2] == [
        "attempt 1: 500 points reserved",
        "attempt 1: captured, the customer has the code",
    ]
    channels = ("klaviyo", "metafields", "omnisend", "postscript")
    assert {one["channel"]: one["status"] for one in found["deliveries"]} == dict.fromkeys(channels, "sent")
    assert found["reversals"] == []
    times = [found["expires_at"], *(one["at"] for one in found["steps"])]
    times += [one["sent_at"] for one in found["deliveries"]]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time) for time in times)


async def test_refunds_and_failed_purchases_are_reversals(service: Service, shop: Shop) -> None:
    refunded = await purchased(shop)
    assert (await shop.refund(refunded)).status_code == 200
    await service.wait_for_refund(refunded)
    await service.add_fault("shopify", kind="status", status=403)
    assert (await shop.purchase()).status_code == 503
    failed = (await shop.redemptions())[-1].id
    await service.wait_for_purchase(failed)

    receipts = [await receipt(shop, one) for one in (refunded, failed)]

    assert [one["status"] for one in receipts] == ["expired", "failed"]
    assert [[(back["kind"], back["points"]) for back in one["reversals"]] for one in receipts] == [
        [("refund", 500)],
        [("release", 500)],
    ]


async def test_a_receipt_has_no_discount_code(shop: Shop) -> None:
    redemption = await purchased(shop)
    code = attributes_of(await shop.get(f"/v1/reward-history/{redemption}"))["discount_code"]

    assert code not in str(await receipt(shop, redemption))


async def test_other_shops_receipts_are_not_found(service: Service, shop: Shop) -> None:
    redemption = await purchased(shop)
    other = await service.open_shop(a_shop(a_customer()))

    answer = await other.get(f"/v1/reward-history/{redemption}/receipt")

    assert code_of(answer) == (404, "reward_history_entry_not_found")
