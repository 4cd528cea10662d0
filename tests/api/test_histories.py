"""Earning history and reward history of a customer"""

from datetime import UTC, datetime, timedelta

import pytest

from tests.api.support import attributes_of, code_of, error_of, ids_of, set_status, values_of
from tests.builders import a_customer, a_lot, a_reward, a_shop
from tests.service import Service
from tests.shop import Shop


@pytest.fixture
async def shop(service: Service) -> Shop:
    """A customer with two lots, of which the larger one expires, and two rewards."""
    lots = [a_lot(900, days_old=5, expires_in=timedelta(days=30)), a_lot(300, days_old=20)]
    return await service.open_shop(
        a_shop(a_customer(*lots), a_customer(a_lot(700)), rewards=[a_reward(), a_reward("cheap", points_cost=100)])
    )


def earnings(shop: Shop, query: str = "") -> str:
    return f"/v1/customers/{shop.customers[0]}/earning-history{query}"


def redemptions(shop: Shop, query: str = "") -> str:
    return f"/v1/customers/{shop.customers[0]}/reward-history{query}"


async def test_imported_lots_are_earnings_with_the_reference_fields(shop: Shop) -> None:
    answer = await shop.get(earnings(shop))

    newest, oldest = answer.json()["data"]
    assert newest["type"] == "earning_history_entry"
    assert newest["id"].startswith("cer_")
    times = {name: newest["attributes"].pop(name) for name in ("created_at", "updated_at", "points_given_at")}
    assert len({*times.values()}) == 1
    assert newest["attributes"].pop("points_expiry_at") is not None
    assert newest["attributes"] == {
        "earning_rule_id": None,
        "action": "import",
        "points": 900,
        "base_points": 900,
        "points_multiplier": 1.0,
        "status": "approved",
        "order_id": None,
        "order_number": None,
        "shopify_date": None,
        "points_due_at": None,
        "manual_intervention": False,
    }
    assert (oldest["attributes"]["points"], oldest["attributes"]["points_expiry_at"]) == (300, None)


async def test_a_repeated_import_adds_no_earning(service: Service) -> None:
    imported = a_shop(a_customer(a_lot(100)))
    shop = await service.open_shop(imported)

    await service.open_shop(imported)

    assert (await shop.get(earnings(shop))).json()["meta"]["total"] == 1


async def test_earnings_are_sorted_filtered_and_paged(shop: Shop) -> None:
    for query, points in {
        "?sort=points": [300, 900],
        "?sort=-points": [900, 300],
        "?sort=points_given_at": [300, 900],
        "?sort=created_at&page[size]=1&page[number]=2": [900],
        "?filter[status]=approved": [900, 300],
        "?filter[status]=pending": [],
        "?filter[status]=rejected": [],
    }.items():
        assert values_of(await shop.get(earnings(shop, query)), "points") == points


async def test_lists_and_purchases_agree(shop: Shop) -> None:
    purchased = (await shop.purchase()).json()["data"]

    listed = (await shop.get(redemptions(shop))).json()

    assert listed == {"data": [purchased], "meta": {"total": 1, "page": 1, "per_page": 20, "total_pages": 1}}


async def test_redemptions_are_sorted_and_filtered(shop: Shop) -> None:
    expensive = (await shop.purchase()).json()["data"]["id"]
    cheap = (await shop.purchase(reward="cheap")).json()["data"]["id"]
    expired = (await shop.purchase(reward="cheap")).json()["data"]["id"]
    await set_status(shop, cheap, "used")
    await set_status(shop, expired, "expired")

    for query, expected in {
        "": [expired, cheap, expensive],
        "?sort=created_at": [expensive, cheap, expired],
        "?sort=-points_spent&page[size]=1": [expensive],
        "?filter[status]=active": [expensive],
        "?filter[status]=used": [cheap],
        "?filter[status]=expired&sort=points_spent": [expired],
    }.items():
        assert ids_of(await shop.get(redemptions(shop, query))) == expected
    assert (await shop.get(redemptions(shop, "?filter[status]=used"))).json()["meta"]["total"] == 1
    assert await shop.service.audit() == []


async def test_a_code_expires_at_its_end(shop: Shop) -> None:
    ended, valid = [(await shop.purchase(reward="cheap")).json()["data"]["id"] for _ in range(2)]
    await shop.end_code(ended, timedelta(seconds=-1))
    await shop.end_code(valid, timedelta(minutes=1))

    for query, expected in {
        "?filter[status]=expired": [ended],
        "?filter[status]=active": [valid],
        "?filter[status]=used": [],
        "": [valid, ended],
    }.items():
        listed = await shop.get(redemptions(shop, query))
        assert (ids_of(listed), listed.json()["meta"]["total"]) == (expected, len(expected))
    assert values_of(await shop.get(redemptions(shop)), "status") == ["active", "expired"]
    for path in ("", "/receipt"):
        assert attributes_of(await shop.get(f"/v1/reward-history/{ended}{path}"))["status"] == "expired"


async def test_an_ended_code_can_be_used_and_refunded(shop: Shop) -> None:
    """Shopify checks the code when the checkout begins, so that an order can follow its end."""
    used, refunded = [(await shop.purchase(reward="cheap")).json()["data"] for _ in range(2)]
    for one in (used, refunded):
        await shop.end_code(one["id"], timedelta(seconds=-1))
    order = {"id": 1, "discount_codes": [{"code": used["attributes"]["discount_code"]}]}

    await shop.process_webhook("orders/create", order | {"created_at": datetime.now(UTC).isoformat()})
    assert (await shop.refund(refunded["id"])).status_code == 200

    shown = [attributes_of(await shop.get(f"/v1/reward-history/{one['id']}")) for one in (used, refunded)]
    assert [(one["status"], one["is_refunded"]) for one in shown] == [("used", False), ("expired", True)]


async def test_a_refunded_redemption_is_listed_with_its_code(shop: Shop) -> None:
    purchased = (await shop.purchase()).json()["data"]
    assert (await shop.refund(purchased["id"])).status_code == 200

    listed = await shop.get(redemptions(shop, "?filter[status]=expired"))
    customer = await shop.customer()

    assert ids_of(listed) == [purchased["id"]]
    assert values_of(listed, "discount_code") == [purchased["attributes"]["discount_code"]]
    assert values_of(listed, "is_refunded") == [True]
    assert [customer[f"{kind}_points"] for kind in ("current", "lifetime", "redeemed")] == [1200, 1200, 0]
    assert await shop.service.audit() == []


async def test_a_failed_purchase_is_not_listed(service: Service, shop: Shop) -> None:
    await service.add_fault("shopify", kind="status", status=403, times=None)
    assert (await shop.purchase()).status_code == 503

    listed = await shop.get(redemptions(shop))

    assert (ids_of(listed), listed.json()["meta"]["total"]) == ([], 0)


async def test_customers_have_separate_histories(shop: Shop) -> None:
    await shop.purchase(customer=shop.customers[1])

    assert ids_of(await shop.get(redemptions(shop))) == []
    assert values_of(await shop.get(f"/v1/customers/{shop.customers[1]}/earning-history"), "points") == [700]


async def test_invalid_parameters_are_refused_by_name(shop: Shop) -> None:
    for path in (earnings(shop), redemptions(shop)):
        for query in ("filter[status]=failed", "sort=status", "page[number]=-1"):
            answer = await shop.get(f"{path}?{query}")
            assert (answer.status_code, error_of(answer)["source"]["parameter"]) == (400, query.partition("=")[0])


async def test_a_failed_purchase_is_retrieved_without_code(service: Service, shop: Shop) -> None:
    await service.add_fault("shopify", kind="status", status=403, times=None)
    await shop.purchase()
    [redemption] = await shop.redemptions()

    attributes = attributes_of(await shop.get(f"/v1/reward-history/{redemption.id}"))

    assert (attributes["status"], attributes["discount_code"]) == ("failed", None)


@pytest.mark.parametrize("entry", ["cr_unknown", "💥", "a" * 5000])
async def test_an_unknown_entry_is_not_found(shop: Shop, entry: str) -> None:
    assert code_of(await shop.get(f"/v1/reward-history/{entry}")) == (404, "reward_history_entry_not_found")
