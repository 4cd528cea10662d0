"""POST /v1/reward-history/{id}/refund as a merchant's back office sees it."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import WorkflowEnvironment

from db.tables import ActivityLog, Redemption
from settings import Settings
from tests.builders import a_customer, a_lot, a_reward, a_shop
from tests.service import Service
from tests.shop import Shop

CHANNELS = ["klaviyo", "metafields", "omnisend", "postscript"]


@pytest.fixture
async def shop(service: Service) -> Shop:
    return await service.open_shop(a_shop(a_customer(a_lot(300, days_old=20), a_lot(900))))


async def bought(shop: Shop, **purchase: Any) -> str:
    """A redemption that was announced everywhere."""
    redemption = (await shop.purchase(**purchase)).json()["data"]["id"]
    await shop.service.wait_for_purchase(redemption)
    return redemption


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, code, and what the client can do."""
    [error] = answer.json()["errors"]
    return answer.status_code, error["code"], error["meta"]["retry"]


async def log_of(shop: Shop, redemption: str) -> dict[str, dict[str, Any]]:
    """What the merchant reads of it."""
    query = select(ActivityLog).where(ActivityLog.redemption_id == redemption)
    async with shop.service.store() as session:
        return {row.kind: row.facts for row in await session.scalars(query)}


async def test_a_refund_kills_the_code_and_gives_each_lot_its_own(service: Service, shop: Shop) -> None:
    redemption = await bought(shop)
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
    facts = (await log_of(shop, redemption))["reward_refunded"]
    assert (facts["reason"], facts["points_refunded"]) == ("The order was cancelled", 500)
    assert facts["actor"].startswith("API key")
    assert await service.audit() == []


async def test_points_of_a_refunded_reward_do_not_count_as_spent(shop: Shop) -> None:
    await shop.refund(await bought(shop))

    attributes = (await shop.get(f"/v1/customers/{shop.customers[0]}")).json()["data"]["attributes"]

    points = [attributes[f"{kind}_points"] for kind in ("current", "lifetime", "redeemed")]
    assert points == [1200, 1200, 0]


async def test_a_second_call_changes_nothing_and_answers_the_same(service: Service, shop: Shop) -> None:
    redemption = await bought(shop)
    first = await shop.refund(redemption, "once")
    requests = (await service.vendor("shopify"))["requests"]

    again = await shop.refund(redemption, "twice")

    assert (again.status_code, again.content) == (200, first.content)
    assert await shop.balance() == 1200
    await service.wait_for_refund(redemption)
    assert (await service.vendor("shopify"))["requests"] - requests <= len(["the metafield", "written again"])
    assert (await log_of(shop, redemption))["reward_refunded"]["reason"] == "once"


async def test_several_calls_at_once_refund_once(service: Service, shop: Shop) -> None:
    redemption = await bought(shop)

    answers = await asyncio.gather(*(shop.refund(redemption) for _ in range(5)))

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert await shop.balance() == 1200
    assert await service.audit() == []


async def test_a_refunded_place_of_a_capped_reward_can_be_taken_again(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(1200)), rewards=[a_reward(max_redemptions=1)]))
    redemption = await bought(shop)
    assert (await shop.purchase()).status_code == 422

    await shop.refund(redemption)

    assert (await shop.purchase()).status_code == 201


async def test_a_code_that_shopify_saw_used_is_not_refunded(service: Service, shop: Shop) -> None:
    redemption = await bought(shop)
    [discount] = await shop.discounts()
    await shop.use_code(discount["code"])

    for _ in range(2):
        assert error_of(await shop.refund(redemption)) == (422, "reward_already_used", "never")

    assert await shop.lots() == [0, 700]
    [row] = await shop.redemptions()
    assert (row.status, row.is_refunded) == ("active", False)
    assert await service.wait_for_refund(redemption) == "COMPLETED"
    assert await shop.deliveries("reward_refunded") == {}
    assert await service.audit() == []


async def test_a_redemption_that_is_used_is_refused_without_asking_anybody(service: Service, shop: Shop) -> None:
    redemption = await bought(shop)
    await become(service, redemption, "used")
    requests = (await service.vendor("shopify"))["requests"]

    assert error_of(await shop.refund(redemption)) == (422, "reward_already_used", "never")

    assert (await service.vendor("shopify"))["requests"] == requests


async def test_an_expired_code_that_nobody_used_is_refunded(service: Service, shop: Shop) -> None:
    redemption = await bought(shop)
    await become(service, redemption, "expired")

    assert (await shop.refund(redemption)).status_code == 200

    assert await shop.lots() == [300, 900]
    assert await service.audit() == []


async def become(service: Service, redemption: str, status: str) -> None:
    """What the order webhook and the clock do to a redemption."""
    async with service.store.begin() as session:
        await session.execute(update(Redemption).where(Redemption.id == redemption).values(status=status))


async def test_a_code_that_the_merchant_has_deleted_is_refunded_and_the_answer_says_so(shop: Shop) -> None:
    redemption = await bought(shop)
    [discount] = await shop.discounts()
    await delete_at_shopify(shop, discount["id"])

    first, again = await shop.refund(redemption), await shop.refund(redemption)

    assert (first.status_code, first.json()["meta"]) == (200, {"code_removed": False})
    assert again.content == first.content
    assert await shop.lots() == [300, 900]


async def delete_at_shopify(shop: Shop, gid: str) -> None:
    """In Shopify's admin."""
    document = "mutation ($id: ID!) { discountCodeDelete(id: $id) { userErrors { message } } }"
    answer = await shop.service.vendors.post(
        f"/{shop.domain}/admin/api/2026-10/graphql.json",
        headers={"X-Shopify-Access-Token": "shpat_admin"},
        json={"query": document, "variables": {"id": gid}},
    )
    assert answer.json()["data"]["discountCodeDelete"]["userErrors"] == []


async def test_what_was_never_redeemed_cannot_be_refunded(service: Service, shop: Shop) -> None:
    await service.add_fault("shopify", kind="status", status=403, times=None)
    await shop.purchase()
    [redemption] = await shop.redemptions()

    assert error_of(await shop.refund(redemption.id)) == (422, "reward_not_redeemed", "never")

    assert await shop.lots() == [300, 900]


async def test_another_shops_entry_does_not_exist(service: Service, shop: Shop) -> None:
    redemption = await bought(shop)
    other = await service.open_shop(a_shop())

    for unknown in (await other.refund(redemption), await shop.refund("cr_nothing")):
        assert error_of(unknown) == (404, "reward_history_entry_not_found", "never")
    assert await shop.balance() == 700


async def test_a_read_only_key_refunds_nothing(shop: Shop) -> None:
    redemption = await bought(shop)

    assert error_of(await shop.refund(redemption, key=shop.read_key)) == (403, "read_only_key", "never")
    assert await shop.balance() == 700


async def test_a_reason_need_not_be_given(shop: Shop) -> None:
    redemption = await bought(shop)

    for body in (b"", b"{}", b'{"reason": null}', b'{"reason": "a reason", "more": 1}'):
        assert (await refund_with(shop, redemption, body)).status_code == 200

    assert (await log_of(shop, redemption))["reward_refunded"]["reason"] is None


BAD_REASONS = {
    b"[]": "invalid_json",
    b"{": "invalid_json",
    b'{"reason": ""}': "invalid_request",
    b'{"reason": 7}': "invalid_request",
    b'{"reason": "a\\u0000b"}': "invalid_request",
    b'{"reason": "' + b"a" * 501 + b'"}': "invalid_request",
}


async def test_a_bad_reason_gets_a_clear_error(shop: Shop) -> None:
    redemption = await bought(shop)

    for body, code in BAD_REASONS.items():
        assert error_of(await refund_with(shop, redemption, body)) == (400, code, "never")

    assert await shop.balance() == 700


async def refund_with(shop: Shop, redemption: str, body: bytes) -> httpx.Response:
    """With this body, to the byte."""
    headers = {"Authorization": shop.full_key, "Content-Type": "application/json"}
    return await shop.service.api.post(f"/v1/reward-history/{redemption}/refund", headers=headers, content=body)


@pytest.fixture
async def hasty(settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment) -> AsyncGenerator[Service]:
    """A service whose callers do not wait long."""
    hasty = settings.model_copy(update={"purchase_deadline_seconds": 3})
    async with Service.running(hasty, engine, temporal.client) as service:
        yield service


async def test_while_shopify_is_away_the_refund_goes_on_and_is_made_once(hasty: Service) -> None:
    shop = await hasty.open_shop(a_shop(a_customer(a_lot(500))))
    redemption = await bought(shop)
    await hasty.add_fault("shopify", kind="down")

    away = await shop.refund(redemption)

    assert error_of(away) == (503, "shopify_unavailable", "same_key")
    assert away.headers["retry-after"]
    assert await shop.balance() == 0
    await hasty.clear_faults("shopify")
    assert await hasty.wait_for_refund(redemption) == "COMPLETED"
    assert await shop.balance() == 500
    assert (await shop.refund(redemption)).json()["meta"] == {"code_removed": True}
    assert await shop.balance() == 500
    assert await hasty.audit() == []


async def test_without_a_worker_the_caller_hears_that_it_takes_longer(
    settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment
) -> None:
    hasty = settings.model_copy(update={"purchase_deadline_seconds": 2})
    async with Service.running(hasty, engine, temporal.client, working=False) as service:
        shop = await service.open_shop(a_shop(a_customer(a_lot(500))))
        async with service.worker():
            redemption = await bought(shop)

        assert error_of(await shop.refund(redemption)) == (503, "engine_unavailable", "same_key")

        async with service.worker():
            assert await service.wait_for_refund(redemption) == "COMPLETED"
        assert await shop.balance() == 500


async def test_the_openapi_describes_the_refund(service: Service) -> None:
    document = (await service.api.get("/openapi.json")).json()

    refund = document["paths"]["/v1/reward-history/{entry_id}/refund"]["post"]
    assert set(refund["responses"]) == {"200", "400", "401", "403", "404", "413", "415", "422", "429", "500", "503"}
    assert refund["requestBody"]["required"] is False
    for code in ("reward_already_used", "reward_not_redeemed"):
        assert f"`{code}`" in refund["responses"]["422"]["description"]
