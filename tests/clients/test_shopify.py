"""Discounts and metafields: the Shopify client with the sandbox."""

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
from clients.shopify import CodeTaken, FoundDiscount, Shopify
from domain.discounts import Discount, DiscountType
from tests.clients.build import (
    EVERY_KIND,
    FREE_PRODUCT,
    FREE_PRODUCT_WITH_SPEND,
    OFF_COLLECTION,
    OFF_PRODUCTS,
    OFF_VARIANT,
    STATE,
    STORE,
    SUBSCRIPTION_SHIPPING,
    a_discount,
    a_status,
    shopify_client,
)
from tests.clients.conftest import AddFault, VendorState

every_kind = pytest.mark.parametrize("discount", EVERY_KIND, ids=lambda discount: discount.type)


async def find(shopify: Shopify, code: str = a_discount().code) -> FoundDiscount:
    found = await shopify.find_discount(STORE, code)
    assert found is not None
    return found


async def create(shopify: Shopify, vendor_state: VendorState, discount: Discount) -> dict[str, Any]:
    """Create the discount and return the input that the sandbox received."""
    await shopify.create_discount(STORE, discount)
    return (await vendor_state("shopify"))["discounts"][0]["asked"]


@every_kind
async def test_a_discount_is_found_by_code_ignoring_case(shopify: Shopify, discount: Discount) -> None:
    gid = await shopify.create_discount(STORE, discount)

    found = await find(shopify, discount.code.lower())

    assert (found.id, found.status) == (gid, "ACTIVE")
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
async def test_a_different_discount_does_not_match(shopify: Shopify, other: dict[str, Any]) -> None:
    await shopify.create_discount(STORE, a_discount(**other))

    assert not (await find(shopify)).matches(a_discount())


@pytest.mark.parametrize(
    ("created", "wanted"),
    [
        (a_discount(), OFF_COLLECTION),
        (OFF_COLLECTION, OFF_VARIANT),
        (OFF_VARIANT, replace(OFF_VARIANT, amount=Decimal("10.01"))),
        (OFF_COLLECTION, FREE_PRODUCT),
    ],
    ids=["whole order", "collection", "amount", "free product"],
)
async def test_a_discount_off_other_items_does_not_match(shopify: Shopify, created: Discount, wanted: Discount) -> None:
    await shopify.create_discount(STORE, created)

    assert not (await find(shopify)).matches(wanted)


@pytest.mark.parametrize(
    ("discount", "terms"),
    [
        (
            OFF_COLLECTION,
            {
                "items": {"collections": {"add": ["gid://shopify/Collection/7"]}},
                "appliesOnOneTimePurchase": True,
                "appliesOnSubscription": True,
                "recurringCycleLimit": 3,
            },
        ),
        (
            OFF_VARIANT,
            {
                "items": {"products": {"productVariantsToAdd": ["gid://shopify/ProductVariant/99"]}},
                "appliesOnOneTimePurchase": True,
                "appliesOnSubscription": False,
            },
        ),
        (
            OFF_PRODUCTS,
            {"items": {"products": {"productsToAdd": ["gid://shopify/Product/8", "gid://shopify/Product/9"]}}},
        ),
        (
            SUBSCRIPTION_SHIPPING,
            {"appliesOnOneTimePurchase": False, "appliesOnSubscription": True, "recurringCycleLimit": 0},
        ),
    ],
    ids=["collection", "variant", "products", "shipping"],
)
async def test_shopify_gets_items_purchases_and_cycles(
    shopify: Shopify, vendor_state: VendorState, discount: Discount, terms: dict[str, Any]
) -> None:
    asked = await create(shopify, vendor_state, discount)

    named = {**asked, **asked.get("customerGets", {})}
    names = ("items", "appliesOnOneTimePurchase", "appliesOnSubscription", "recurringCycleLimit")
    assert {name: named[name] for name in names if name in named} == terms


async def test_an_unused_code_is_not_found(shopify: Shopify) -> None:
    assert await shopify.find_discount(STORE, "MAGE-UNUSED") is None


async def test_a_code_is_created_only_once(shopify: Shopify) -> None:
    await shopify.create_discount(STORE, a_discount())

    with pytest.raises(CodeTaken) as taken:
        await shopify.create_discount(STORE, a_discount(code=a_discount().code.lower()))

    assert not taken.value.alarm


async def test_a_code_is_limited_to_one_customer_and_use(shopify: Shopify, vendor_state: VendorState) -> None:
    ends_at = datetime(2027, 1, 1, tzinfo=UTC)
    discount = a_discount(minimum_spend=Decimal("25.00"), ends_at=ends_at, combines_with=("shipping",))

    sent = await create(shopify, vendor_state, discount)

    assert sent["context"] == {"customers": {"add": ["gid://shopify/Customer/4711"]}}
    assert (sent["usageLimit"], sent["appliesOncePerCustomer"]) == (1, True)
    assert sent["minimumRequirement"] == {"subtotal": {"greaterThanOrEqualToSubtotal": "25.00"}}
    assert sent["combinesWith"] == {"orderDiscounts": False, "productDiscounts": False, "shippingDiscounts": True}
    assert sent["endsAt"] == "2027-01-01T00:00:00Z"


async def test_free_shipping_never_combines_with_itself(shopify: Shopify, vendor_state: VendorState) -> None:
    discount = a_discount(type=DiscountType.FREE_SHIPPING, amount=None, combines_with=("order", "shipping"))

    sent = await create(shopify, vendor_state, discount)

    assert sent["combinesWith"] == {"orderDiscounts": True, "productDiscounts": False, "shippingDiscounts": False}


async def set_price(http: httpx.AsyncClient, price: str | None) -> None:
    """Set the price of the free product. None: it does not exist."""
    path = f"/_sandbox/shopify/shops/{STORE.domain}/variants/{FREE_PRODUCT.product_variant_id}"
    assert (await http.put(path, json={"price": price})).is_success


async def test_a_free_product_is_one_unit_at_its_current_price(
    shopify: Shopify, http: httpx.AsyncClient, vendor_state: VendorState
) -> None:
    await set_price(http, "12.50")

    sent = await create(shopify, vendor_state, FREE_PRODUCT)

    assert sent["customerGets"] == {
        "items": {"products": {"productVariantsToAdd": ["gid://shopify/ProductVariant/99"]}},
        "value": {"discountAmount": {"amount": "12.50", "appliesOnEachItem": False}},
    }


async def test_a_free_product_is_recognised_after_a_price_change(shopify: Shopify, http: httpx.AsyncClient) -> None:
    await shopify.create_discount(STORE, FREE_PRODUCT)

    await set_price(http, "99.00")

    assert (await find(shopify)).matches(FREE_PRODUCT)
    assert not (await find(shopify)).matches(a_discount(amount=Decimal("10.00")))


async def test_a_product_that_does_not_exist_is_refused(
    shopify: Shopify, http: httpx.AsyncClient, vendor_state: VendorState
) -> None:
    await set_price(http, None)

    with pytest.raises(Refused, match="ProductVariant/99 does not exist") as refused:
        await shopify.create_discount(STORE, FREE_PRODUCT)

    assert not refused.value.alarm
    assert (await vendor_state("shopify"))["discounts"] == []


async def test_a_minimum_spend_counts_all_products(shopify: Shopify, vendor_state: VendorState) -> None:
    sent = await create(shopify, vendor_state, FREE_PRODUCT_WITH_SPEND)

    everything = {"collections": {"add": ["gid://shopify/Collection/1"]}}
    assert sent["customerBuys"] == {"value": {"amount": "30.00"}, "items": everything}
    assert sent["customerGets"]["items"] == {"products": {"productVariantsToAdd": ["gid://shopify/ProductVariant/99"]}}
    assert sent["customerGets"]["value"] == {"discountOnQuantity": {"quantity": 1, "effect": {"percentage": 1.0}}}
    assert sent["usesPerOrderLimit"] == 1


async def test_a_minimum_spend_for_a_free_product_needs_the_all_collection(
    shopify: Shopify, add_fault: AddFault
) -> None:
    await add_fault("shopify", **a_status(200, body={"data": {"collectionByIdentifier": None}}))

    with pytest.raises(Refused, match="handle `all`"):
        await shopify.create_discount(STORE, FREE_PRODUCT_WITH_SPEND)


@pytest.mark.parametrize(
    ("currency", "amount", "sent_as"), [("JPY", "500.00", "500"), ("KWD", "1.5", "1.500"), ("KWD", "2.125", "2.125")]
)
async def test_amounts_have_the_decimals_of_their_currency(
    shopify: Shopify, vendor_state: VendorState, currency: str, amount: str, sent_as: str
) -> None:
    money = Decimal(amount)
    discount = a_discount(currency=currency, amount=money, minimum_spend=money)

    sent = await create(shopify, vendor_state, discount)

    assert sent["customerGets"]["value"]["discountAmount"]["amount"] == sent_as
    assert sent["minimumRequirement"]["subtotal"]["greaterThanOrEqualToSubtotal"] == sent_as
    assert (await find(shopify)).matches(discount)


@every_kind
async def test_a_fence_blocks_a_late_commit(
    shopify: Shopify, add_fault: AddFault, vendor_state: VendorState, discount: Discount
) -> None:
    kind = "FreeShipping" if discount.type is DiscountType.FREE_SHIPPING else "Basic"
    kind = "Bxgy" if discount == FREE_PRODUCT_WITH_SPEND else kind
    await add_fault("shopify", operation=f"discountCode{kind}Create", kind="execute_late", seconds=0.05)
    with pytest.raises(Exception, match="RemoteProtocolError"):
        await shopify.create_discount(STORE, discount)

    await shopify.fence_code(STORE, discount)
    await asyncio.sleep(0.1)

    state = await vendor_state("shopify")
    assert [call["outcome"] for call in state["calls"]][-2:] == ["ok", "TAKEN"]
    assert [created["status"] for created in state["discounts"]] == ["expired"]
    found = await find(shopify, discount.code)
    assert found.is_fence_of(discount)
    assert not found.matches(discount)
    assert found.ends_at is not None
    assert found.ends_at < datetime.now(UTC) - timedelta(days=365)


async def test_a_fence_never_matches_its_discount(shopify: Shopify) -> None:
    one_percent = a_discount(type=DiscountType.PERCENTAGE, amount=Decimal(1))
    await shopify.fence_code(STORE, one_percent)

    assert not (await find(shopify)).matches(one_percent)


async def test_a_fence_does_not_replace_a_discount(shopify: Shopify) -> None:
    await shopify.create_discount(STORE, a_discount())

    with pytest.raises(CodeTaken):
        await shopify.fence_code(STORE, a_discount())


async def test_a_second_delete_does_nothing(shopify: Shopify) -> None:
    gid = await shopify.create_discount(STORE, a_discount())

    await shopify.delete_discount(STORE, gid)
    await shopify.delete_discount(STORE, gid)

    assert await shopify.find_discount(STORE, a_discount().code) is None


async def test_deactivating_returns_the_number_of_uses(shopify: Shopify, http: httpx.AsyncClient) -> None:
    used, unused = [await shopify.create_discount(STORE, a_discount(code=code)) for code in ("USED", "UNUSED")]
    assert (await http.post(f"/_sandbox/shopify/shops/{STORE.domain}/uses", json={"code": "used"})).is_success

    assert await shopify.deactivate_discount(STORE, used) == 1
    assert await shopify.deactivate_discount(STORE, unused) == 0
    assert await shopify.deactivate_discount(STORE, "gid://shopify/DiscountCodeNode/404") is None


async def test_a_missing_number_of_uses_is_unknown(shopify: Shopify, add_fault: AddFault) -> None:
    node = {"id": "gid", "codeDiscount": {"__typename": "Novel"}}
    payload: dict[str, Any] = {"codeDiscountNode": node, "userErrors": []}
    await add_fault("shopify", **a_status(200, body={"data": {"discountCodeDeactivate": payload}}))

    with pytest.raises(Unknown):
        await shopify.deactivate_discount(STORE, "gid")


async def test_a_deactivated_discount_keeps_its_code(shopify: Shopify) -> None:
    gid = await shopify.create_discount(STORE, a_discount())

    for _ in range(2):
        await shopify.deactivate_discount(STORE, gid)

    assert (await find(shopify)).status == "EXPIRED"


async def test_the_metafield_has_the_latest_state(shopify: Shopify, vendor_state: VendorState) -> None:
    await shopify.set_loyalty_metafield(STORE, "4711", STATE)
    await shopify.set_loyalty_metafield(STORE, "4711", replace(STATE, points_balance=100, vip_tier=None))

    [metafield] = (await vendor_state("shopify"))["metafields"]

    assert (metafield["ownerId"], metafield["namespace"]) == ("gid://shopify/Customer/4711", "mage")
    assert (metafield["key"], metafield["type"]) == ("loyalty", "json")
    assert json.loads(metafield["value"]) == {
        "points_balance": 100,
        "lifetime_points": 1250,
        "redeemed_points": 1000,
        "vip_tier": None,
        "status": "member",
    }


async def test_a_retired_version_is_logged(http: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        await shopify_client(http, "2024-01").find_discount(STORE, "MAGE-ANY")

    [log] = logs
    assert (log["event"], log["requested"], log["served"]) == ("shopify_version_differs", "2024-01", "2026-01")


async def test_unknown_fields_and_types_are_accepted(shopify: Shopify, add_fault: AddFault) -> None:
    context = {"__typename": "DiscountTribes", "tribes": 3}
    discount = {"__typename": "DiscountCodeNovel", "status": "SLEEPING", "tags": ["x"], "context": context, "new": 1}
    node: dict[str, Any] = {"id": "gid://shopify/DiscountCodeNode/9", "codeDiscount": discount, "more": []}
    body: dict[str, Any] = {"data": {"codeDiscountNodeByCode": node}, "extensions": {"cost": "none"}, "warnings": []}
    await add_fault("shopify", **a_status(200, body=body))

    found = await find(shopify)

    assert (found.type, found.amount, found.customer_ids, found.status) == (None, None, (), "SLEEPING")
    assert not found.matches(a_discount())
