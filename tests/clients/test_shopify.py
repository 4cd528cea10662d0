"""Discounts and metafields, as the client and the sandbox agree on them."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from clients.outcomes import Refused, Unknown
from clients.shopify import CodeTaken, Shopify
from domain.discounts import Discount, DiscountType
from tests.clients.build import EVERY_KIND, STATE, STORE, a_discount
from tests.clients.conftest import ScriptFault, See

every_kind = pytest.mark.parametrize("discount", EVERY_KIND, ids=lambda discount: discount.type)


@every_kind
async def test_a_discount_is_recognised_by_its_code_in_any_case(shopify: Shopify, discount: Discount) -> None:
    gid = await shopify.create_discount(STORE, discount)

    found = await shopify.find_discount(STORE, discount.code.lower())

    assert found is not None
    assert found.id == gid
    assert found.status == "ACTIVE"
    assert found.matches(discount)
    assert not found.is_fence_of(discount)


@pytest.mark.parametrize(
    "other",
    [
        {"redemption_id": "cer_2"},
        {"customer_id": "4712"},
        {"amount": Decimal("10.01")},
        {"type": DiscountType.PERCENTAGE},
        {"type": DiscountType.FREE_SHIPPING, "amount": None},
    ],
    ids=lambda other: "-".join(other),
)
async def test_somebody_elses_discount_is_not_adopted(shopify: Shopify, other: dict[str, Any]) -> None:
    await shopify.create_discount(STORE, a_discount(**other))

    found = await shopify.find_discount(STORE, a_discount().code)

    assert found is not None
    assert not found.matches(a_discount())


async def test_nobody_has_the_code_before_it_is_made(shopify: Shopify) -> None:
    assert await shopify.find_discount(STORE, "MAGE-NOBODY") is None


async def test_a_code_can_be_made_only_once(shopify: Shopify) -> None:
    await shopify.create_discount(STORE, a_discount())

    with pytest.raises(CodeTaken) as taken:
        await shopify.create_discount(STORE, a_discount(code=a_discount().code.lower()))

    assert not taken.value.alarm


async def test_the_code_belongs_to_one_customer_for_one_use(shopify: Shopify, see: See) -> None:
    ends_at = datetime(2027, 1, 1, tzinfo=UTC)
    discount = a_discount(minimum_spend=Decimal("25.00"), ends_at=ends_at, combines_with=("shipping",))
    await shopify.create_discount(STORE, discount)

    asked = (await see("shopify"))["discounts"][0]["asked"]

    assert asked["context"] == {"customers": {"add": ["gid://shopify/Customer/4711"]}}
    assert (asked["usageLimit"], asked["appliesOncePerCustomer"]) == (1, True)
    assert asked["minimumRequirement"] == {"subtotal": {"greaterThanOrEqualToSubtotal": "25.00"}}
    combined = {"orderDiscounts": False, "productDiscounts": False, "shippingDiscounts": True}
    assert asked["combinesWith"] == combined
    assert asked["endsAt"] == "2027-01-01T00:00:00Z"


async def test_free_shipping_never_combines_with_free_shipping(shopify: Shopify, see: See) -> None:
    combines_with = ("order", "shipping")
    discount = a_discount(type=DiscountType.FREE_SHIPPING, amount=None, combines_with=combines_with)
    await shopify.create_discount(STORE, discount)

    combined = (await see("shopify"))["discounts"][0]["asked"]["combinesWith"]

    assert combined == {"orderDiscounts": True, "productDiscounts": False, "shippingDiscounts": False}


@pytest.mark.parametrize(("spend", "bought"), [("30.00", {"amount": "30.00"}), (None, {"quantity": 1})])
async def test_a_free_product_comes_with_a_purchase(
    shopify: Shopify, see: See, spend: str | None, bought: dict[str, Any]
) -> None:
    discount = replace(EVERY_KIND[3], minimum_spend=None if spend is None else Decimal(spend))
    await shopify.create_discount(STORE, discount)

    asked = (await see("shopify"))["discounts"][0]["asked"]

    assert asked["customerBuys"] == {"value": bought, "items": {"collections": {"add": ["gid://shopify/Collection/1"]}}}
    assert asked["customerGets"]["items"] == {"products": {"productVariantsToAdd": ["gid://shopify/ProductVariant/99"]}}
    assert asked["customerGets"]["value"] == {"discountOnQuantity": {"quantity": 1, "effect": {"percentage": 1.0}}}
    assert asked["usesPerOrderLimit"] == 1


async def test_a_shop_without_a_collection_of_everything_is_told_so(shopify: Shopify, script: ScriptFault) -> None:
    nothing = {"data": {"collectionByIdentifier": None}}
    await script("shopify", operation="collectionByIdentifier", kind="status", status=200, body=nothing)

    with pytest.raises(Refused, match="handle `all`") as refused:
        await shopify.create_discount(STORE, EVERY_KIND[3])

    assert refused.value.alarm


@every_kind
async def test_a_fence_keeps_a_late_commit_out(
    shopify: Shopify, script: ScriptFault, see: See, discount: Discount
) -> None:
    kind = {"free_shipping": "FreeShipping", "free_product": "Bxgy"}.get(discount.type, "Basic")
    await script("shopify", operation=f"discountCode{kind}Create", kind="execute_late", seconds=0.05)
    with pytest.raises(Exception, match="RemoteProtocolError"):
        await shopify.create_discount(STORE, discount)

    await shopify.fence_code(STORE, discount)
    await asyncio.sleep(0.1)

    shop = await see("shopify")
    assert [call["outcome"] for call in shop["calls"]][-2:] == ["ok", "TAKEN"]
    assert [made["status"] for made in shop["discounts"]] == ["expired"]
    found = await shopify.find_discount(STORE, discount.code)
    assert found is not None
    assert found.is_fence_of(discount)
    assert not found.matches(discount)
    assert found.ends_at is not None
    assert found.ends_at < datetime.now(UTC) - timedelta(days=365)


async def test_a_fence_is_not_taken_for_the_discount_it_resembles(shopify: Shopify) -> None:
    one_percent = a_discount(type=DiscountType.PERCENTAGE, amount=Decimal(1))
    await shopify.fence_code(STORE, one_percent)

    found = await shopify.find_discount(STORE, one_percent.code)

    assert found is not None
    assert not found.matches(one_percent)


async def test_a_fence_does_not_push_out_a_discount_that_exists(shopify: Shopify) -> None:
    await shopify.create_discount(STORE, a_discount())

    with pytest.raises(CodeTaken):
        await shopify.fence_code(STORE, a_discount())


async def test_deleting_twice_is_as_good_as_once(shopify: Shopify) -> None:
    gid = await shopify.create_discount(STORE, a_discount())

    await shopify.delete_discount(STORE, gid)
    await shopify.delete_discount(STORE, gid)

    assert await shopify.find_discount(STORE, a_discount().code) is None


async def test_deactivating_tells_how_often_a_discount_was_used(shopify: Shopify, http: httpx.AsyncClient) -> None:
    used, unused = [await shopify.create_discount(STORE, a_discount(code=code)) for code in ("USED", "UNUSED")]
    uses = f"https://sandbox/_sandbox/shopify/shops/{STORE.domain}/uses"
    assert (await http.post(uses, json={"code": "used"})).is_success

    assert await shopify.deactivate_discount(STORE, used) == 1
    assert await shopify.deactivate_discount(STORE, unused) == 0
    assert await shopify.deactivate_discount(STORE, "gid://shopify/DiscountCodeNode/404") is None


async def test_a_discount_whose_uses_cannot_be_read_is_not_taken_for_unused(
    shopify: Shopify, script: ScriptFault
) -> None:
    node = {"id": "gid", "codeDiscount": {"__typename": "Novel"}}
    payload: dict[str, Any] = {"codeDiscountNode": node, "userErrors": []}
    answer: dict[str, Any] = {"data": {"discountCodeDeactivate": payload}}
    await script("shopify", kind="status", status=200, body=answer)

    with pytest.raises(Unknown):
        await shopify.deactivate_discount(STORE, "gid")


async def test_a_deactivated_code_stays_taken(shopify: Shopify) -> None:
    gid = await shopify.create_discount(STORE, a_discount())

    await shopify.deactivate_discount(STORE, gid)
    await shopify.deactivate_discount(STORE, gid)
    found = await shopify.find_discount(STORE, a_discount().code)

    assert found is not None
    assert found.status == "EXPIRED"


async def test_the_theme_reads_the_customers_state(shopify: Shopify, see: See) -> None:
    await shopify.set_loyalty_metafield(STORE, "4711", STATE)
    await shopify.set_loyalty_metafield(STORE, "4711", replace(STATE, points_balance=100, vip_tier=None))

    [metafield] = (await see("shopify"))["metafields"]

    assert (metafield["ownerId"], metafield["namespace"]) == ("gid://shopify/Customer/4711", "mage")
    assert (metafield["key"], metafield["type"]) == ("loyalty", "json")
    assert json.loads(metafield["value"]) == {
        "points_balance": 100,
        "lifetime_points": 1250,
        "redeemed_points": 1000,
        "vip_tier": None,
        "status": "member",
    }


async def test_a_version_that_shopify_no_longer_serves_is_noticed(http: httpx.AsyncClient) -> None:
    template = "https://sandbox/{shop_domain}/admin/api/{version}/graphql.json"
    shopify = Shopify(http, url_template=template, api_version="2024-01")

    with capture_logs() as logs:
        await shopify.find_discount(STORE, "MAGE-ANY")

    [log] = logs
    assert (log["event"], log["requested"], log["served"]) == ("shopify_version_differs", "2024-01", "2026-01")


async def test_what_shopify_adds_tomorrow_does_no_harm(shopify: Shopify, script: ScriptFault) -> None:
    context = {"__typename": "DiscountTribes", "tribes": 3}
    discount = {"__typename": "DiscountCodeNovel", "status": "SLEEPING", "tags": ["x"], "context": context, "new": 1}
    node: dict[str, Any] = {"id": "gid://shopify/DiscountCodeNode/9", "codeDiscount": discount, "more": []}
    answer: dict[str, Any] = {
        "data": {"codeDiscountNodeByCode": node},
        "extensions": {"cost": "free today"},
        "warnings": [],
    }
    await script("shopify", kind="status", status=200, body=answer)

    found = await shopify.find_discount(STORE, "MAGE-ANY")

    assert found is not None
    assert (found.type, found.amount, found.customer_ids, found.status) == (None, None, (), "SLEEPING")
    assert not found.matches(a_discount())
