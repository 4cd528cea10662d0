"""Format of import files. A file is validated completely before anything is written."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from domain.addresses import address_key
from domain.api_keys import MIN_KEY_LENGTH, KeyScope
from domain.discounts import DiscountType
from domain.money import decimals_of, is_exact
from domain.points import MAX_POINTS

VARIANT_GID = "gid://shopify/ProductVariant/"


def _numeric_id(value: object) -> object:
    return value.removeprefix(VARIANT_GID) if isinstance(value, str) else value


Text = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
Description = Annotated[str, StringConstraints(max_length=5_000, pattern=r"^[^\x00]*$")]
Link = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^https?://[^\s\x00-\x1f\x7f]+$")]
Number = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")]
Email = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$")]
Points = Annotated[int, Field(gt=0, le=MAX_POINTS, strict=True)]
VariantId = Annotated[Number, BeforeValidator(_numeric_id)]
Multiplier = Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=2)]
# How many decimals are allowed depends on the shop's currency; none has more than four.
Amount = Annotated[Decimal, Field(gt=0, max_digits=14, decimal_places=4)]


class InvalidImport(Exception):
    """The file, or one shop of it, cannot be imported. Nothing of it was written."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _in_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Secret = Annotated[SecretStr, Field(min_length=1)]


class ShopifyAccess(_Part):
    """`webhook_secret`: one, or two while it is rotated. Left out: the shop keeps its own; null removes them."""

    access_token: SecretStr
    webhook_secret: Annotated[list[Secret], Field(min_length=1, max_length=2)] | None = None

    _one_secret = field_validator("webhook_secret", mode="before")(_in_list)


class VendorAccess(_Part):
    api_key: SecretStr


class ImportedKey(_Part):
    key: SecretStr
    scope: KeyScope
    label: str = ""
    expires_at: AwareDatetime | None = None


class ImportedTier(_Part):
    id: Text
    name: Text
    description: Description | None = None
    points_required: Annotated[int, Field(ge=0, le=MAX_POINTS, strict=True)]
    points_multiplier: Multiplier = Decimal(1)
    badge_image_url: Link | None = None
    badge_color: Text | None = None


def _is_percentage(amount: Decimal | None) -> bool:
    return amount is not None and amount <= 100 and amount == round(amount, 2)


class ImportedReward(_Part):
    id: Text
    name: Text
    description: Description | None = None
    discount_type: DiscountType
    discount_amount: Amount | None = None
    product_variant_id: VariantId | None = None
    points_cost: Points
    minimum_spend: Amount | None = None
    vip_tier: Text | None = None
    is_active: bool = True
    expiry_days: Annotated[int, Field(gt=0, le=36_500)] | None = None
    max_redemptions: Annotated[int, Field(gt=0, le=MAX_POINTS)] | None = None
    combines_with: list[Literal["order", "product", "shipping"]] = []

    @model_validator(mode="after")
    def _check_discount(self) -> Self:
        if self.discount_type.has_amount != (self.discount_amount is not None):
            rule = "is required" if self.discount_type.has_amount else "is not allowed"
            raise ValueError(f"discount_amount {rule} for {self.discount_type}")
        if self.discount_type is DiscountType.PERCENTAGE and not _is_percentage(self.discount_amount):
            raise ValueError("discount_amount is a percentage: at most 100, with at most 2 decimals")
        if self.discount_type is DiscountType.FREE_PRODUCT and self.product_variant_id is None:
            raise ValueError("product_variant_id is required for free_product")
        return self


class ImportedLot(_Part):
    id: Text
    points: Points
    earned_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    source: Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]*$")] = ""


class ImportedCustomer(_Part):
    shopify_customer_id: Number
    email: Email | None = None
    first_name: Text | None = None
    last_name: Text | None = None
    phone: Text | None = None
    date_of_birth: date | None = None
    anniversary_date: date | None = None
    referral_code: Text | None = None
    referral_url: Link | None = None
    excluded: bool = False
    vip_tier: Text | None = None
    lots: list[ImportedLot] = []


class ImportedShop(_Part):
    demo: bool = False
    """For trying things out: its API keys are published, and may be short."""
    domain: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\.myshopify\.com$")]
    name: Text
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    code_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,20}$")] = "MAGE"
    release_grace_days: Annotated[int, Field(gt=0, le=3_650, strict=True)] = 7
    shopify: ShopifyAccess | None = None
    klaviyo: VendorAccess | None = None
    omnisend: VendorAccess | None = None
    postscript: VendorAccess | None = None
    api_keys: list[ImportedKey] = []
    vip_tiers: list[ImportedTier] = []
    rewards: list[ImportedReward] = []
    customers: list[ImportedCustomer] = []


class ImportFile(_Part):
    shops: list[ImportedShop]


def read_import(path: Path) -> ImportFile:
    """Read and validate an import file.

    Raises:
        InvalidImport: one line per error, each with its JSON path.
        OSError: the file cannot be read.
    """
    try:
        file = ImportFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        lines = [f"{_json_path(item['loc'])}: {item['msg']}" for item in error.errors(include_url=False)]
        raise InvalidImport("\n".join(lines)) from None
    errors = [*_duplicates("$.shops", "domain", (shop.domain for shop in file.shops))]
    for number, shop in enumerate(file.shops):
        errors += _inconsistencies(f"$.shops[{number}]", shop)
    if errors:
        raise InvalidImport("\n".join(errors))
    return file


def _json_path(location: Sequence[int | str]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _inconsistencies(path: str, shop: ImportedShop) -> Iterator[str]:
    yield from _short_keys(path, shop)
    yield from _duplicates(f"{path}.vip_tiers", "id", (tier.id for tier in shop.vip_tiers))
    yield from _duplicates(f"{path}.rewards", "id", (reward.id for reward in shop.rewards))
    ids = (customer.shopify_customer_id for customer in shop.customers)
    yield from _duplicates(f"{path}.customers", "shopify_customer_id", ids)
    emails = (address_key(customer.email) for customer in shop.customers if customer.email)
    yield from _duplicates(f"{path}.customers", "email", emails)
    tiers = {None, *(tier.id for tier in shop.vip_tiers)}
    for kind, members in (("rewards", shop.rewards), ("customers", shop.customers)):
        for number, member in enumerate(members):
            if member.vip_tier not in tiers:
                yield f"{path}.{kind}[{number}].vip_tier: no tier '{member.vip_tier}' in vip_tiers"
    for number, reward in enumerate(shop.rewards):
        yield from _inexact_amounts(f"{path}.rewards[{number}]", reward, shop.currency)
    for number, customer in enumerate(shop.customers):
        lots = (lot.id for lot in customer.lots)
        yield from _duplicates(f"{path}.customers[{number}].lots", "id", lots)


def _short_keys(path: str, shop: ImportedShop) -> Iterator[str]:
    for number, key in enumerate(shop.api_keys):
        if len(key.key.get_secret_value()) < MIN_KEY_LENGTH and not shop.demo:
            yield f"{path}.api_keys[{number}].key: must have at least {MIN_KEY_LENGTH} characters"


def _inexact_amounts(path: str, reward: ImportedReward, currency: str) -> Iterator[str]:
    amounts = {"minimum_spend": reward.minimum_spend}
    if reward.discount_type is DiscountType.FIXED_AMOUNT:
        amounts["discount_amount"] = reward.discount_amount
    for field, amount in amounts.items():
        if amount is not None and not is_exact(amount, currency):
            yield f"{path}.{field}: {amount} has more than the {decimals_of(currency)} decimals of {currency}"


def _duplicates(path: str, field: str, values: Iterable[Any]) -> Iterator[str]:
    for value, count in Counter(values).items():
        if count > 1:
            yield f"{path}: {field} '{value}' appears {count} times"
