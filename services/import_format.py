"""Format of import files. A file is validated completely before anything is written.

A file for a known shop changes only what it names: see `_Part`.
"""

import codecs
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

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
from domain.points import MAX_POINTS
from domain.vendors import Vendor

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


# Default of a field that a file can leave out and that cannot be null. Never read: see `_Part.columns`.
_OMITTED: Any = None


class InvalidImport(Exception):
    """The file, or a part of it, cannot be imported. One line per error."""


class _Part(BaseModel):
    """A part of a file. A field that it omits keeps its stored value, or gets the column's default in a new row.

    `required`: fields without such a default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    required: ClassVar[tuple[str, ...]] = ()

    @property
    def columns(self) -> dict[str, Any]:
        """The fields that the file names, by their columns in the database."""
        return self.model_dump(exclude_unset=True, by_alias=True)

    @property
    def missing(self) -> list[str]:
        """Required fields that the file omits."""
        return [name for name in self.required if name not in self.model_fields_set]


def _in_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Secret = Annotated[SecretStr, Field(min_length=1)]


class ShopifyAccess(_Part):
    """`webhook_secret`: one, or two while it is rotated. Null removes them."""

    access_token: SecretStr = _OMITTED
    webhook_secret: Annotated[list[Secret], Field(min_length=1, max_length=2)] | None = None

    _one_secret = field_validator("webhook_secret", mode="before")(_in_list)

    @property
    def names_webhook_secret(self) -> bool:
        return "webhook_secret" in self.model_fields_set


class VendorAccess(_Part):
    api_key: SecretStr


def secret_fields(vendor: Vendor, access: ShopifyAccess | VendorAccess | None) -> dict[str, str]:
    """The fields of a vendor's credentials that the file names: one, or none."""
    name = vendor.secret_field
    return {name: getattr(access, name).get_secret_value()} if access and name in access.model_fields_set else {}


class ImportedKey(_Part):
    key: Annotated[SecretStr, Field(exclude=True)]
    scope: KeyScope
    label: str = ""
    expires_at: AwareDatetime | None = None


class ImportedTier(_Part):
    required = ("name", "points_required")

    id: Text
    name: Text = _OMITTED
    description: Description | None = None
    points_required: Annotated[int, Field(ge=0, le=MAX_POINTS, strict=True)] = _OMITTED
    points_multiplier: Multiplier = Decimal(1)
    badge_image_url: Link | None = None
    badge_color: Text | None = None


class ImportedReward(_Part):
    required = ("name", "discount_type", "points_cost")

    id: Text
    name: Text = _OMITTED
    description: Description | None = None
    discount_type: DiscountType = _OMITTED
    discount_amount: Amount | None = None
    product_variant_id: VariantId | None = None
    points_cost: Points = _OMITTED
    minimum_spend: Amount | None = None
    vip_tier: Annotated[Text | None, Field(serialization_alias="vip_tier_id")] = None
    is_active: bool = True
    expiry_days: Annotated[int, Field(gt=0, le=36_500)] | None = None
    max_redemptions: Annotated[int, Field(gt=0, le=MAX_POINTS)] | None = None
    combines_with: list[Literal["order", "product", "shipping"]] = []

    @property
    def columns(self) -> dict[str, Any]:
        """As of any part. A type without an amount removes the stored amount."""
        columns = super().columns
        if "discount_type" in columns and not self.discount_type.has_amount:
            columns.setdefault("discount_amount", None)
        return columns

    @model_validator(mode="after")
    def _check_discount(self) -> Self:
        if error := discount_error(self.columns):
            raise ValueError(error)
        return self


def discount_error(reward: Mapping[str, Any]) -> str | None:
    """What is wrong with a reward's discount, of the columns that are given."""
    if reward.get("discount_type") is None:
        return None
    kind = DiscountType(reward["discount_type"])
    amount = reward.get("discount_amount")
    if "discount_amount" in reward and kind.has_amount != (amount is not None):
        rule = "is required" if kind.has_amount else "is not allowed"
        return f"discount_amount {rule} for {kind}"
    if kind is DiscountType.PERCENTAGE and amount is not None and not _is_percentage(amount):
        return "discount_amount is a percentage: at most 100, with at most 2 decimals"
    if kind is DiscountType.FREE_PRODUCT and reward.get("product_variant_id", "") is None:
        return "product_variant_id is required for free_product"
    return None


def _is_percentage(amount: Decimal) -> bool:
    return amount <= 100 and amount == round(amount, 2)


class ImportedLot(_Part):
    id: Text
    points: Points
    earned_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    source: Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]*$")] = ""


class ImportedCustomer(_Part):
    shopify_customer_id: Annotated[Number, Field(serialization_alias="id")]
    email: Email | None = None
    first_name: Text | None = None
    last_name: Text | None = None
    phone: Text | None = None
    date_of_birth: date | None = None
    anniversary_date: date | None = None
    referral_code: Text | None = None
    referral_url: Link | None = None
    excluded: bool = False
    vip_tier: Annotated[Text | None, Field(serialization_alias="vip_tier_id")] = None
    lots: Annotated[list[ImportedLot], Field(exclude=True)] = []


class ImportedShop(_Part):
    required = ("name", "currency")

    demo: bool = False
    """For trying things out: its API keys are published, and may be short. Not stored."""
    domain: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\.myshopify\.com$")]
    name: Text = _OMITTED
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = _OMITTED
    code_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,20}$")] = _OMITTED
    release_grace_days: Annotated[int, Field(gt=0, le=3_650, strict=True)] = _OMITTED
    shopify: ShopifyAccess | None = None
    klaviyo: VendorAccess | None = None
    omnisend: VendorAccess | None = None
    postscript: VendorAccess | None = None
    api_keys: list[ImportedKey] = []
    vip_tiers: list[ImportedTier] = []
    rewards: list[ImportedReward] = []
    customers: list[ImportedCustomer] = []

    @property
    def settings(self) -> dict[str, Any]:
        """The columns of the shop's row that the file names."""
        columns = self.model_dump(include={"name", "currency", "code_prefix"}, exclude_unset=True)
        if "release_grace_days" in self.model_fields_set:
            columns["release_grace"] = timedelta(days=self.release_grace_days)
        return columns


class ImportFile(_Part):
    shops: Annotated[list[ImportedShop], Field(min_length=1)]


def read_import(path: Path) -> ImportFile:
    """Read and validate an import file.

    Raises:
        InvalidImport: one line per error, each with its JSON path.
        OSError: the file cannot be read.
    """
    try:
        file = ImportFile.model_validate_json(path.read_bytes().removeprefix(codecs.BOM_UTF8))
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
    for number, customer in enumerate(shop.customers):
        lots = (lot.id for lot in customer.lots)
        yield from _duplicates(f"{path}.customers[{number}].lots", "id", lots)


def _short_keys(path: str, shop: ImportedShop) -> Iterator[str]:
    for number, key in enumerate(shop.api_keys):
        if len(key.key.get_secret_value()) < MIN_KEY_LENGTH and not shop.demo:
            yield f"{path}.api_keys[{number}].key: must have at least {MIN_KEY_LENGTH} characters"


def _duplicates(path: str, field: str, values: Iterable[Any]) -> Iterator[str]:
    for value, count in Counter(values).items():
        if count > 1:
            yield f"{path}: {field} '{value}' appears {count} times"
