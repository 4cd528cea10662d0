"""POST /v1/reward-history/{id}/refund"""

import asyncio
from typing import Any

import httpx

from tests.api.support import error_of, purchased, set_status
from tests.builders import a_customer, a_lot, a_reward, a_shop
from tests.service import Service
from tests.shop import Shop


def outcome_of(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, code and `meta.retry` of an error."""
    error = error_of(answer)
    return answer.status_code, error["code"], error["meta"]["retry"]


async def refund_facts(shop: Shop) -> dict[str, Any]:
    """Facts of the refund in the activity log."""
    [entry] = await shop.activity_log("reward_refunded")
    return entry.facts


async def test_a_refund_removes_the_code_and_restores_the_lots(shop: Shop) -> None:
    redemption = await purchased(shop)
    assert await shop.lots() == [0, 700]

    answer = await shop.refund(redemption, "The order was cancelled")

    assert answer.status_code == 200, answer.text
    entry = answer.json()["data"]
    attributes = entry["attributes"]
    assert (entry["id"], attributes["status"], attributes["is_refunded"]) == (redemption, "expired", True)
    assert attributes["discount_code"].startswith("MAGE-")
    assert answer.json()["meta"] == {"code_removed": True}
    assert [one["status"] for one in await shop.discounts()] == ["deleted"]
    assert await shop.lots() == [300, 900]
    assert (await shop.get(f"/v1/reward-history/{redemption}")).json()["data"] == entry
    facts = await refund_facts(shop)
    assert (facts["reason"], facts["points_refunded"]) == ("The order was cancelled", 500)
    assert facts["actor"].startswith("API key")


async def test_refunded_points_are_not_redeemed_points(shop: Shop) -> None:
    await shop.refund(await purchased(shop))

    attributes = await shop.customer()
    assert [attributes[f"{kind}_points"] for kind in ("current", "lifetime", "redeemed")] == [1200, 1200, 0]


async def test_a_repeated_refund_changes_nothing(service: Service, shop: Shop) -> None:
    redemption = await purchased(shop)
    first = await shop.refund(redemption, "once")
    requests = (await service.vendor("shopify"))["requests"]

    again = await shop.refund(redemption, "twice")

    assert (again.status_code, again.content) == (200, first.content)
    assert await shop.balance() == 1200
    await service.wait_for_refund(redemption)
    # The metafield is written, and may be written again.
    assert (await service.vendor("shopify"))["requests"] - requests <= 2
    assert (await refund_facts(shop))["reason"] == "once"


async def test_concurrent_refunds_refund_once(shop: Shop) -> None:
    redemption = await purchased(shop)

    answers = await asyncio.gather(*(shop.refund(redemption) for _ in range(5)))

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert await shop.balance() == 1200


async def test_a_refund_frees_a_redemption_of_the_maximum(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(1200)), rewards=[a_reward(max_redemptions=1)]))
    redemption = await purchased(shop)
    assert (await shop.purchase()).status_code == 422

    await shop.refund(redemption)

    assert (await shop.purchase()).status_code == 201


async def test_a_code_used_at_shopify_is_not_refunded(service: Service, shop: Shop) -> None:
    redemption = await purchased(shop)
    [discount] = await shop.discounts()
    await shop.use_code(discount["code"])

    for _ in range(2):
        assert outcome_of(await shop.refund(redemption)) == (422, "reward_already_used", "never")

    assert await shop.lots() == [0, 700]
    [row] = await shop.redemptions()
    assert (row.status, row.is_refunded) == ("active", False)
    assert await service.wait_for_refund(redemption) == "COMPLETED"
    assert await shop.deliveries("reward_refunded") == {}


async def test_a_used_redemption_is_refused_without_shopify(service: Service, shop: Shop) -> None:
    redemption = await purchased(shop)
    await set_status(shop, redemption, "used")
    requests = (await service.vendor("shopify"))["requests"]

    assert outcome_of(await shop.refund(redemption)) == (422, "reward_already_used", "never")

    assert (await service.vendor("shopify"))["requests"] == requests


async def test_an_expired_code_is_refunded(shop: Shop) -> None:
    redemption = await purchased(shop)
    await set_status(shop, redemption, "expired")

    assert (await shop.refund(redemption)).status_code == 200

    assert await shop.lots() == [300, 900]


async def test_a_code_deleted_by_the_merchant_is_refunded(shop: Shop) -> None:
    redemption = await purchased(shop)
    [discount] = await shop.discounts()
    await delete_at_shopify(shop, discount["id"])

    first, again = await shop.refund(redemption), await shop.refund(redemption)

    assert (first.status_code, first.json()["meta"]) == (200, {"code_removed": False})
    assert again.content == first.content
    assert await shop.lots() == [300, 900]


async def delete_at_shopify(shop: Shop, gid: str) -> None:
    """Delete a discount as the merchant does in the Shopify admin."""
    document = "mutation ($id: ID!) { discountCodeDelete(id: $id) { userErrors { message } } }"
    answer = await shop.service.vendors.post(
        f"/{shop.domain}/admin/api/2026-10/graphql.json",
        headers={"X-Shopify-Access-Token": "shpat_admin"},
        json={"query": document, "variables": {"id": gid}},
    )
    assert answer.json()["data"]["discountCodeDelete"]["userErrors"] == []


async def test_a_failed_purchase_is_not_refunded(service: Service, shop: Shop) -> None:
    await service.add_fault("shopify", kind="status", status=403, times=None)
    await shop.purchase()
    [redemption] = await shop.redemptions()

    assert outcome_of(await shop.refund(redemption.id)) == (422, "reward_not_redeemed", "never")

    assert await shop.lots() == [300, 900]


async def test_other_shops_entries_are_not_found(service: Service, shop: Shop) -> None:
    redemption = await purchased(shop)
    other = await service.open_shop(a_shop())

    for unknown in (await other.refund(redemption), await shop.refund("cr_nothing")):
        assert outcome_of(unknown) == (404, "reward_history_entry_not_found", "never")
    assert await shop.balance() == 700


async def test_a_read_only_key_refunds_nothing(shop: Shop) -> None:
    redemption = await purchased(shop)

    assert outcome_of(await shop.refund(redemption, key=shop.read_key)) == (403, "read_only_key", "never")
    assert await shop.balance() == 700


async def test_the_reason_is_optional(shop: Shop) -> None:
    redemption = await purchased(shop)

    for body in (b"", b"{}", b'{"reason": null}', b'{"reason": "a reason"}'):
        assert (await refund_with(shop, redemption, body)).status_code == 200

    assert (await refund_facts(shop))["reason"] is None


INVALID_REASONS = {
    b"[]": "invalid_json",
    b"{": "invalid_json",
    b'{"reason": ""}': "invalid_request",
    b'{"reason": 7}': "invalid_request",
    b'{"reason": "a\\u0000b"}': "invalid_request",
    b'{"reason": "\\fa"}': "invalid_request",
    b'{"reason": "' + b"a" * 501 + b'"}': "invalid_request",
}


async def test_an_invalid_reason_is_refused(shop: Shop) -> None:
    redemption = await purchased(shop)

    for body, code in INVALID_REASONS.items():
        assert outcome_of(await refund_with(shop, redemption, body)) == (400, code, "never")

    assert await shop.balance() == 700


async def refund_with(shop: Shop, redemption: str, body: bytes) -> httpx.Response:
    """Refund with exactly this body."""
    headers = {"Authorization": shop.full_key, "Content-Type": "application/json"}
    return await shop.service.api.post(f"/v1/reward-history/{redemption}/refund", headers=headers, content=body)


async def test_a_refund_is_completed_once_shopify_is_back(impatient: Service) -> None:
    shop = await impatient.open_shop(a_shop(a_customer(a_lot(500))))
    async with impatient.worker():
        redemption = await purchased(shop)
        await impatient.add_fault("shopify", kind="down")

        answer = await shop.refund(redemption)

        assert outcome_of(answer) == (503, "shopify_unavailable", "same_key")
        assert answer.headers["retry-after"]
        assert await shop.balance() == 0
        await impatient.clear_faults("shopify")
        assert await impatient.wait_for_refund(redemption) == "COMPLETED"
        assert (await shop.refund(redemption)).json()["meta"] == {"code_removed": True}
        assert await shop.balance() == 500


async def test_a_refund_without_a_worker_is_pending(impatient: Service) -> None:
    shop = await impatient.open_shop(a_shop(a_customer(a_lot(500))))
    async with impatient.worker():
        redemption = await purchased(shop)

    assert outcome_of(await shop.refund(redemption)) == (503, "engine_unavailable", "same_key")

    async with impatient.worker():
        assert await impatient.wait_for_refund(redemption) == "COMPLETED"
    assert await shop.balance() == 500
