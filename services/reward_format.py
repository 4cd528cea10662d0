"""Format of a reward in import files and in the API, and its rules. docs/rewards.md explains the fields."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field, model_serializer, model_validator

from domain.discounts import DiscountType
from domain.ladder import Ladder
from domain.orders import CancelledOrderPolicy
from domain.points import MAX_POINTS
from domain.reward_terms import ItemKind, Pricing, PurchaseType
from services.import_parts import OMITTED, Amount, Description, Number, Part, Points, Text

MAX_ITEMS = 100
"""Maximum of ids in `applies_to`."""

_VARIABLE_ONLY = ("points_step", "value_per_step", "min_points", "max_points", "max_value")

CHECKED_COLUMNS = (
    *("discount_type", "discount_amount", "product_variant_id", "minimum_spend", "points_cost", "pricing"),
    *(*_VARIABLE_ONLY, "applies_to", "purchase_type", "billing_cycles", "starts_at", "ends_at"),
)
"""Columns that must fit each other."""

_Columns = Mapping[str, Any]


def _numeric_id(kind: ItemKind, value: object) -> object:
    """Shopify's numeric id of a numeric or global id."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.removeprefix(kind.gid_prefix) if isinstance(value, str) else value


def _time(value: object) -> object:
    """A time, also in strict mode, where a text that has passed another validator is refused otherwise."""
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a time like 2026-11-28T00:00:00Z") from None


_Time = Annotated[AwareDatetime, BeforeValidator(_time)]
VariantId = Annotated[Number, BeforeValidator(partial(_numeric_id, ItemKind.VARIANTS))]
_Collections = list[Annotated[Number, BeforeValidator(partial(_numeric_id, ItemKind.COLLECTIONS))]]
_Products = list[Annotated[Number, BeforeValidator(partial(_numeric_id, ItemKind.PRODUCTS))]]
_SomeItems = Field(min_length=1, max_length=MAX_ITEMS)


class AppliesToField(Part):
    """The items that the discount applies to: ids of one kind."""

    model_config = ConfigDict(title="AppliesTo")

    collections: Annotated[_Collections, _SomeItems] | None = None
    products: Annotated[_Products, _SomeItems] | None = None
    variants: Annotated[list[VariantId], _SomeItems] | None = None

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if len(self._named()) != 1:
            raise ValueError("must name one of collections, products and variants")
        return self

    @model_serializer
    def _named(self) -> dict[str, list[str]]:
        values = {kind.value: getattr(self, kind) for kind in ItemKind}
        return {kind: list(dict.fromkeys(ids)) for kind, ids in values.items() if ids is not None}


class RewardFields(Part):
    required = ("name", "discount_type", "points_cost")

    name: Text = OMITTED
    description: Description | None = None
    discount_type: DiscountType = OMITTED
    discount_amount: Amount | None = None
    product_variant_id: VariantId | None = None
    pricing: Pricing = Pricing.FIXED
    points_cost: Points = OMITTED
    points_step: Points | None = None
    value_per_step: Amount | None = None
    min_points: Points | None = None
    max_points: Points | None = None
    max_value: Amount | None = None
    minimum_spend: Amount | None = None
    applies_to: AppliesToField | None = None
    purchase_type: PurchaseType | None = None
    billing_cycles: Annotated[int, Field(ge=0, le=1_000, strict=True)] | None = None
    vip_tier: Annotated[Text | None, Field(serialization_alias="vip_tier_id")] = None
    is_active: bool = True
    starts_at: _Time | None = None
    ends_at: _Time | None = None
    expiry_days: Annotated[int, Field(gt=0, le=36_500)] | None = None
    max_redemptions: Annotated[int, Field(gt=0, le=MAX_POINTS)] | None = None
    max_per_customer: Annotated[int, Field(gt=0, le=MAX_POINTS, strict=True)] | None = None
    cooldown_days: Annotated[int, Field(gt=0, le=3_650, strict=True)] | None = None
    combines_with: list[Literal["order", "product", "shipping"]] = Field([])
    on_order_cancelled: CancelledOrderPolicy | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """As of any part. What a type or pricing excludes is removed, and the price of a step is the reward's."""
        columns = super().columns
        has_amount = "discount_type" not in columns or self.discount_type.has_amount
        if not has_amount or columns.get("pricing") == Pricing.VARIABLE:
            columns.setdefault("discount_amount", None)
        if columns.get("pricing") == Pricing.FIXED:
            columns = dict.fromkeys(_VARIABLE_ONLY) | columns
        if columns.get("points_step") is not None:
            columns.setdefault("points_cost", self.points_step)
        return columns

    @property
    def missing(self) -> list[str]:
        """Required fields that the file omits. The price of a reward with a step is that of the step."""
        return [name for name in self.required if name not in self.columns]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if error := reward_error(self.columns):
            raise ValueError(error)
        return self


class ImportedReward(RewardFields):
    id: Text


def reward_error(reward: _Columns) -> str | None:
    """What is wrong with a reward, of the columns that are given. A column that is left out is not known."""
    return next((error for check in _CHECKS for error in check(reward)), None)


def _discount(reward: _Columns) -> Iterator[str]:
    if reward.get("discount_type") is None:
        return
    kind = DiscountType(reward["discount_type"])
    amount, is_variable = reward.get("discount_amount"), reward.get("pricing") == Pricing.VARIABLE
    if is_variable and amount is not None:
        yield "discount_amount is not allowed for variable pricing, which has value_per_step"
    elif "discount_amount" in reward and kind.has_amount != (amount is not None) and not is_variable:
        yield f"discount_amount {'is required' if kind.has_amount else 'is not allowed'} for {kind}"
    if kind is DiscountType.PERCENTAGE and amount is not None and not (amount <= 100 and amount == round(amount, 2)):
        yield "discount_amount is a percentage: at most 100, with at most 2 decimals"
    if kind is DiscountType.FREE_PRODUCT and reward.get("product_variant_id", "") is None:
        yield "product_variant_id is required for free_product"


def _pricing(reward: _Columns) -> Iterator[str]:
    if reward.get("pricing") == Pricing.VARIABLE:
        if reward.get("discount_type", DiscountType.FIXED_AMOUNT) != DiscountType.FIXED_AMOUNT:
            yield f"variable pricing is only possible for fixed_amount, not for {reward['discount_type']}"
        for name in ("points_step", "value_per_step"):
            if reward.get(name, 1) is None:
                yield f"{name} is required for variable pricing"
    elif "pricing" in reward:
        for name in _VARIABLE_ONLY:
            if reward.get(name) is not None:
                yield f"{name} is only allowed for variable pricing"
    step = reward.get("points_step")
    if step is not None and reward.get("points_cost", step) != step:
        yield "points_cost of variable pricing is the price of one step, points_step: leave it out"


def _bounds(reward: _Columns) -> Iterator[str]:
    step, value = reward.get("points_step"), reward.get("value_per_step")
    bounds = {name: reward.get(name) for name in ("min_points", "max_points")}
    for name, bound in bounds.items():
        if step is not None and bound is not None and bound % step:
            yield f"{name} must be a multiple of points_step: {bound} is not one of {step}"
    if step is None or value is None:
        return
    ladder = Ladder.of(step=step, value_per_step=value, max_value=reward.get("max_value"), **bounds)
    if ladder.last is not None and ladder.last < ladder.first:
        bound = "max_points" if ladder.last == bounds["max_points"] else "max_value"
        yield f"{bound} allows fewer points than the first step, {ladder.first}"


def _items(reward: _Columns) -> Iterator[str]:
    kind = reward.get("discount_type")
    if reward.get("applies_to") and kind in (DiscountType.FREE_SHIPPING, DiscountType.FREE_PRODUCT):
        reason = "discounts shipping, not items" if kind == DiscountType.FREE_SHIPPING else "has its own product"
        yield f"applies_to is not allowed for {kind}, which {reason}"
    if kind == DiscountType.FREE_PRODUCT and reward.get("minimum_spend"):
        for name in ("purchase_type", "billing_cycles"):
            if reward.get(name) is not None:
                yield f"{name} is not allowed for free_product with a minimum_spend: Shopify has no such discount"
    of_subscriptions = (PurchaseType.SUBSCRIPTION, PurchaseType.BOTH)
    if reward.get("billing_cycles") is not None and reward.get("purchase_type", "both") not in of_subscriptions:
        yield "billing_cycles needs the purchase_type subscription or both"


def _period(reward: _Columns) -> Iterator[str]:
    starts_at, ends_at = reward.get("starts_at"), reward.get("ends_at")
    if starts_at is not None and ends_at is not None and ends_at <= starts_at:
        yield "ends_at must be after starts_at"


_CHECKS: tuple[Callable[[_Columns], Iterator[str]], ...] = (_discount, _pricing, _bounds, _items, _period)
