"""Validation of new discounts. Shopify's schema declares nearly every field optional and checks them at run time.

Source: responses recorded from a development shop (github.com/airhorns/shopify-draft-proxy), Admin API 2026-04.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from sandbox.vendor import at

CODE_LENGTH = 255
TAGS = 5
TAG_LENGTH = 255
REQUIRED = {"title": "Title", "code": "Code", "startsAt": "Starts at", "context": "Context"}

Input = dict[str, Any]
UserError = dict[str, Any]


def user_errors(argument: str, discount: Input, *, code_is_taken: bool) -> list[UserError]:
    """All user errors of the discount; `argument` is its name in the mutation."""
    checks = [_required(discount), _code(discount, taken=code_is_taken), _period(discount), _tags(discount)]
    if argument == "bxgyCodeDiscount":
        checks.append(_free_product(discount))
    else:
        checks.append(_minimum(discount))
    if argument == "basicCodeDiscount":
        checks += [_amount(discount), _items(discount)]
        checks.append(_purchases(discount, at(discount, "customerGets") or Input(), ["customerGets"]))
    if argument == "freeShippingCodeDiscount":
        checks += [_free_shipping(discount), _purchases(discount, discount, [])]
    return [user_error([argument, *path], code, message) for check in checks for path, code, message in check]


def user_error(field: list[str], code: str, message: str) -> UserError:
    """A `DiscountUserError`."""
    return {"field": field, "code": code, "message": message, "extraInfo": None}


_Errors = Iterator[tuple[list[str], str, str]]


def _required(discount: Input) -> _Errors:
    for name, label in REQUIRED.items():
        if not discount.get(name):
            yield [name], "BLANK", f"{label} can't be blank"


def _code(discount: Input, *, taken: bool) -> _Errors:
    if taken:
        yield ["code"], "TAKEN", "Code must be unique. Please try a different code."
    if len(discount.get("code") or "") > CODE_LENGTH:
        yield ["code"], "TOO_LONG", f"Code is too long (maximum is {CODE_LENGTH} characters)"
    if "\n" in (discount.get("code") or ""):
        yield ["code"], "INVALID", "Code can't have a newline"


def _period(discount: Input) -> _Errors:
    starts_at: datetime | None = discount.get("startsAt")
    ends_at: datetime | None = discount.get("endsAt")
    if starts_at and ends_at and ends_at <= starts_at:
        yield ["endsAt"], "INVALID", "Ends at needs to be after starts_at"


def _tags(discount: Input) -> _Errors:
    tags: list[str] = discount.get("tags") or []
    if len(tags) > TAGS:
        yield ["tags"], "TOO_MANY_TAGS", f"A discount has at most {TAGS} tags"
    if any(len(tag) > TAG_LENGTH for tag in tags):
        yield ["tags"], "INVALID_TAG_LENGTH", f"A tag has at most {TAG_LENGTH} characters"


def _minimum(discount: Input) -> _Errors:
    if at(discount, "minimumRequirement", "quantity") and at(discount, "minimumRequirement", "subtotal"):
        path = ["minimumRequirement", "subtotal", "greaterThanOrEqualToSubtotal"]
        yield path, "CONFLICT", "Minimum subtotal cannot be defined when minimum quantity is"


def _amount(discount: Input) -> _Errors:
    value: Input = at(discount, "customerGets", "value") or Input()
    if not value:
        yield ["customerGets"], "BLANK", "Customer gets can't be blank"
    if "discountOnQuantity" in value:
        yield ["customerGets", "value", "discountOnQuantity"], "INVALID", "Only permitted with bxgy discounts."
    percentage: float | None = value.get("percentage")
    if percentage is not None and not 0 < percentage <= 1:
        path = ["customerGets", "value", "percentage"]
        yield path, "VALUE_OUTSIDE_RANGE", "Value must be between 0.0 and 1.0"
    amount: Decimal | None = at(value, "discountAmount", "amount")
    if amount is not None and amount <= 0:
        # Inverted like Shopify's message: Shopify stores amounts as negative numbers.
        yield ["customerGets", "value", "discountAmount", "amount"], "LESS_THAN", "Value must be less than 0"


def _items(discount: Input) -> _Errors:
    items: Input = at(discount, "customerGets", "items") or Input()
    if sum(bool(items.get(name)) for name in ("all", "collections", "products")) > 1:
        yield ["customerGets", "items"], "CONFLICT", "Items can only be defined in one way"
    products = at(items, "products") or Input()
    for path, gids, resource in (
        (["collections", "add"], at(items, "collections", "add"), "Collection"),
        (["products", "productsToAdd"], products.get("productsToAdd"), "Product"),
        (["products", "productVariantsToAdd"], products.get("productVariantsToAdd"), "ProductVariant"),
    ):
        if any(not gid.startswith(f"gid://shopify/{resource}/") for gid in gids or ()):
            yield ["customerGets", "items", *path], "INVALID", f"{resource} with id is invalid."


def _purchases(discount: Input, terms: Input, path: list[str]) -> _Errors:
    """The kinds of purchases, which the discount or its `customerGets` has, and the billing cycles."""
    on_one_time, on_subscription = (
        terms.get("appliesOnOneTimePurchase", True),
        terms.get("appliesOnSubscription", False),
    )
    if not on_one_time and not on_subscription:
        yield [*path, "appliesOnSubscription"], "APPLIES_ON_NOTHING", "Applies on nothing"
    limit: int | None = discount.get("recurringCycleLimit")
    if limit is not None and limit < 0:
        code = "RECURRING_CYCLE_LIMIT_NOT_A_VALID_INTEGER"
        yield ["recurringCycleLimit"], code, "Recurring cycle limit must be a valid integer greater than or equal to 0"
    elif limit not in (None, 1) and not on_subscription:
        code = "MULTIPLE_RECURRING_CYCLE_LIMIT_FOR_NON_SUBSCRIPTION_ITEMS"
        message = "Recurring cycle limit must be 1 when discount does not apply to subscription items"
        yield ["recurringCycleLimit"], code, message


def _free_shipping(discount: Input) -> _Errors:
    if at(discount, "combinesWith", "shippingDiscounts"):
        message = "The combinesWith settings are not valid for the discount class."
        yield ["combinesWith"], "INVALID_COMBINES_WITH_FOR_DISCOUNT_CLASS", message


def _free_product(discount: Input) -> _Errors:
    if at(discount, "customerGets", "items", "all"):
        yield ["customerGets"], "INVALID", "Items in 'customer get' cannot be set to all"
    bought: Input | None = at(discount, "customerBuys", "items")
    if not bought or bought.get("all"):
        yield ["customerBuys", "items"], "BLANK", "Items in 'customer buys' must be defined"
    value: Input = at(discount, "customerGets", "value") or Input()
    for name in ("percentage", "discountAmount"):
        if name in value:
            path = ["customerGets", "value", name]
            yield path, "INVALID", "Only discountOnQuantity permitted with bxgy discounts."
