"""Shopify discounts: mutation inputs, and the discount that a lookup returns. Source: Admin API 2026-10."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pydantic import AliasPath, AwareDatetime, Field

from clients.shopify_responses import ShopifyModel
from domain.discounts import Discount, DiscountType
from domain.money import money_text
from domain.reward_terms import AppliesTo, ItemKind

TAG = "pointsaga"
FENCE_TAG = "pointsaga-fence"
TITLE_LENGTH = 255

# Any two times in the past: Shopify creates such a discount as EXPIRED.
FENCE_STARTS_AT = "2020-01-01T00:00:00Z"
FENCE_ENDS_AT = "2020-01-02T00:00:00Z"

_PRODUCTS = "DiscountProducts"
_EXPIRED = "EXPIRED"
"""`DiscountStatus` of the Admin API."""


@dataclass(frozen=True)
class FoundDiscount:
    """A discount found by its code.

    Attributes:
        id: Shopify's gid.
        type: None for types that Pointsaga does not create. A free product can be found as an amount off a variant.
        amount: in the shop's currency, or in percent, as in `Discount`. None for other types.
        items: the `__typename` of what it applies to.
        customer_ids: numeric; empty if all customers can use it.
        status: `ACTIVE`, `EXPIRED`, `SCHEDULED`, or a value that Shopify may add.
    """

    id: str
    tags: tuple[str, ...]
    type: DiscountType | None
    amount: Decimal | None
    customer_ids: tuple[str, ...]
    status: str
    ends_at: datetime | None
    items: str = ""

    @property
    def is_expired(self) -> bool:
        """Whether no order can use it any more."""
        return self.status == _EXPIRED

    def matches(self, discount: Discount) -> bool:
        """Whether it has this discount's fingerprint: redemption, customer, type and amount."""
        return (
            self.was_created_for(discount.redemption_id)
            and self.customer_ids == (discount.customer_id,)
            and self._has_value_of(discount)
        )

    def _has_value_of(self, discount: Discount) -> bool:
        if discount.type is DiscountType.FREE_PRODUCT:
            # Its amount is the variant's price, which can have changed since.
            is_amount_off = self.type is DiscountType.FIXED_AMOUNT and self.items == _PRODUCTS
            return self.type is DiscountType.FREE_PRODUCT or is_amount_off
        return (self.type, self.amount, self.items) == (discount.type, discount.amount, _items_name(discount))

    def was_created_for(self, redemption_id: str) -> bool:
        """Whether it is a discount of this redemption, not its fence. Type, amount and customer may differ."""
        return redemption_id in self.tags and FENCE_TAG not in self.tags

    def is_fence_of(self, discount: Discount) -> bool:
        """Whether it is the expired discount that blocks this redemption's code."""
        return discount.redemption_id in self.tags and FENCE_TAG in self.tags


def basic_input(discount: Discount) -> dict[str, Any]:
    """`DiscountCodeBasicInput`: an amount or a percentage off the whole order, or off some items."""
    return {
        **_common_input(discount),
        **_minimum_requirement(discount),
        **_billing_cycles(discount),
        "customerGets": {"value": _basic_value(discount), "items": _items(discount.applies_to), **_purchases(discount)},
    }


def free_shipping_input(discount: Discount) -> dict[str, Any]:
    """`DiscountCodeFreeShippingInput`: free shipping to all countries."""
    common = _common_input(discount)
    # Otherwise INVALID_COMBINES_WITH_FOR_DISCOUNT_CLASS.
    common["combinesWith"]["shippingDiscounts"] = False
    terms = {**_minimum_requirement(discount), **_billing_cycles(discount), **_purchases(discount)}
    return {**common, **terms, "destination": {"all": True}}


def free_product_input(discount: Discount, price: Decimal) -> dict[str, Any]:
    """`DiscountCodeBasicInput`: the price of one unit off the variant, however many units the order has."""
    return {
        **_common_input(discount),
        **_billing_cycles(discount),
        "customerGets": {
            "value": _amount_off(price, discount.currency),
            "items": _variant(discount),
            **_purchases(discount),
        },
    }


def free_product_with_spend_input(discount: Discount, collection_id: str) -> dict[str, Any]:
    """`DiscountCodeBxgyInput`: one unit of the variant is free with a purchase from the collection.

    A minimum of `DiscountCodeBasicInput` counts only the items that the discount applies to, here the free product.
    """
    assert discount.minimum_spend is not None, "the reward has a minimum spend"
    return {
        **_common_input(discount),
        "usesPerOrderLimit": 1,
        "customerBuys": {
            "value": {"amount": money_text(discount.minimum_spend, discount.currency)},
            "items": {"collections": {"add": [collection_id]}},
        },
        "customerGets": {
            "value": {"discountOnQuantity": {"quantity": "1", "effect": {"percentage": 1.0}}},
            "items": _variant(discount),
        },
    }


def fence_input(discount: Discount) -> dict[str, Any]:
    """`DiscountCodeBasicInput` of an expired discount: it occupies the code and can never be used."""
    return {
        **_common_input(discount),
        "title": f"Cancelled: {discount.title}"[:TITLE_LENGTH],
        "tags": [TAG, FENCE_TAG, discount.redemption_id],
        "startsAt": FENCE_STARTS_AT,
        "endsAt": FENCE_ENDS_AT,
        "customerGets": {"value": {"percentage": 0.01}, "items": {"all": True}},
    }


def _common_input(discount: Discount) -> dict[str, Any]:
    return {
        "title": discount.title[:TITLE_LENGTH],
        "code": discount.code,
        "tags": [TAG, discount.redemption_id],
        "startsAt": _moment(discount.starts_at),
        "endsAt": None if discount.ends_at is None else _moment(discount.ends_at),
        # `appliesOncePerCustomer` compares e-mail or phone, so the code is also limited to the account and to one use.
        "context": {"customers": {"add": [customer_gid(discount.customer_id)]}},
        "usageLimit": 1,
        "appliesOncePerCustomer": True,
        "combinesWith": {
            f"{kind}Discounts": kind in discount.combines_with for kind in ("order", "product", "shipping")
        },
    }


def _basic_value(discount: Discount) -> dict[str, Any]:
    assert discount.amount is not None, "this discount type has an amount"
    if discount.type is DiscountType.PERCENTAGE:
        return {"percentage": float(discount.amount / 100)}
    return _amount_off(discount.amount, discount.currency)


def _amount_off(amount: Decimal, currency: str) -> dict[str, Any]:
    # Once per order, not per item. Source: Admin API 2026-10, `DiscountAmountInput`.
    return {"discountAmount": {"amount": money_text(amount, currency), "appliesOnEachItem": False}}


def _items(applies_to: AppliesTo | None) -> dict[str, Any]:
    match applies_to:
        case None:
            return {"all": True}
        case AppliesTo(kind=ItemKind.COLLECTIONS):
            return {"collections": {"add": applies_to.gids}}
        case AppliesTo(kind=ItemKind.PRODUCTS):
            return {"products": {"productsToAdd": applies_to.gids}}
        case _:
            return {"products": {"productVariantsToAdd": applies_to.gids}}


def _items_name(discount: Discount) -> str:
    """The `__typename` of the items of the discount, as a lookup returns it."""
    if discount.type is DiscountType.FREE_SHIPPING:
        return ""
    if discount.applies_to is None:
        return "AllDiscountItems"
    return "DiscountCollections" if discount.applies_to.kind is ItemKind.COLLECTIONS else _PRODUCTS


def _purchases(discount: Discount) -> dict[str, bool]:
    """Fields of `DiscountCustomerGetsInput` and `DiscountCodeFreeShippingInput`. Absent: Shopify's default."""
    kind = discount.purchase_type
    if kind is None:
        return {}
    return {"appliesOnOneTimePurchase": kind.has_one_time, "appliesOnSubscription": kind.has_subscription}


def _billing_cycles(discount: Discount) -> dict[str, int]:
    return {} if discount.billing_cycles is None else {"recurringCycleLimit": discount.billing_cycles}


def _variant(discount: Discount) -> dict[str, Any]:
    return {"products": {"productVariantsToAdd": [variant_gid(discount)]}}


def _minimum_requirement(discount: Discount) -> dict[str, Any]:
    if not discount.minimum_spend:
        return {}
    subtotal = money_text(discount.minimum_spend, discount.currency)
    return {"minimumRequirement": {"subtotal": {"greaterThanOrEqualToSubtotal": subtotal}}}


def customer_gid(customer_id: str) -> str:
    return f"gid://shopify/Customer/{customer_id}"


def variant_gid(discount: Discount) -> str:
    assert discount.product_variant_id is not None, "a free product has a variant"
    return f"gid://shopify/ProductVariant/{discount.product_variant_id}"


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class _Customer(ShopifyModel):
    id: str


class _CodeDiscount(ShopifyModel):
    typename: str = Field(alias="__typename")
    status: str = ""
    ends_at: AwareDatetime | None = None
    tags: tuple[str, ...] = ()
    customers: tuple[_Customer, ...] = Field((), validation_alias=AliasPath("context", "customers"))
    amount: Decimal | None = Field(None, validation_alias=AliasPath("customerGets", "value", "amount", "amount"))
    percentage: Decimal | None = Field(None, validation_alias=AliasPath("customerGets", "value", "percentage"))
    items: str = Field("", validation_alias=AliasPath("customerGets", "items", "__typename"))

    @property
    def kind(self) -> tuple[DiscountType | None, Decimal | None]:
        match self.typename:
            case "DiscountCodeBasic" if self.amount is not None:
                return DiscountType.FIXED_AMOUNT, self.amount
            case "DiscountCodeBasic" if self.percentage is not None:
                return DiscountType.PERCENTAGE, round(self.percentage * 100, 4)
            case "DiscountCodeFreeShipping":
                return DiscountType.FREE_SHIPPING, None
            case "DiscountCodeBxgy":
                return DiscountType.FREE_PRODUCT, None
            case _:
                return None, None


class DiscountNode(ShopifyModel):
    """The fields of `DiscountCodeNode` that the lookup selects."""

    id: str
    code_discount: _CodeDiscount

    def to_found_discount(self) -> FoundDiscount:
        discount = self.code_discount
        kind, amount = discount.kind
        return FoundDiscount(
            id=self.id,
            tags=discount.tags,
            type=kind,
            amount=amount,
            customer_ids=tuple(customer.id.rsplit("/", 1)[-1] for customer in discount.customers),
            status=discount.status,
            ends_at=discount.ends_at,
            items=discount.items,
        )
