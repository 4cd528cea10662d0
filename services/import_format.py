"""Format of import files. A file is validated completely before anything is written.

A file for a known shop changes only what it names: see `Part`.
"""

import codecs
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, SecretStr, StringConstraints, ValidationError, field_validator

from domain.addresses import address_key
from domain.api_keys import MIN_KEY_LENGTH, KeyScope
from domain.orders import CancelledOrderPolicy
from domain.points import MAX_POINTS
from domain.vendors import Vendor
from services.import_parts import OMITTED, Description, Email, Link, Multiplier, Number, Part, Points, Text
from services.reward_format import ImportedReward


class InvalidImport(Exception):
    """The file, or a part of it, cannot be imported. One line per error."""


def _in_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Secret = Annotated[SecretStr, Field(min_length=1)]


class ShopifyAccess(Part):
    """`webhook_secret`: one, or two while it is rotated. Null removes them."""

    access_token: SecretStr = OMITTED
    webhook_secret: Annotated[list[Secret], Field(min_length=1, max_length=2)] | None = None

    _one_secret = field_validator("webhook_secret", mode="before")(_in_list)

    @property
    def names_webhook_secret(self) -> bool:
        return "webhook_secret" in self.model_fields_set


class VendorAccess(Part):
    api_key: SecretStr


def secret_fields(vendor: Vendor, access: ShopifyAccess | VendorAccess | None) -> dict[str, str]:
    """The fields of a vendor's credentials that the file names: one, or none."""
    name = vendor.secret_field
    return {name: getattr(access, name).get_secret_value()} if access and name in access.model_fields_set else {}


class ImportedKey(Part):
    key: Annotated[SecretStr, Field(exclude=True)]
    scope: KeyScope
    label: str = ""
    expires_at: AwareDatetime | None = None


class ImportedTier(Part):
    required = ("name", "points_required")

    id: Text
    name: Text = OMITTED
    description: Description | None = None
    points_required: Annotated[int, Field(ge=0, le=MAX_POINTS, strict=True)] = OMITTED
    points_multiplier: Multiplier = Decimal(1)
    badge_image_url: Link | None = None
    badge_color: Text | None = None


class ImportedLot(Part):
    id: Text
    points: Points
    earned_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    source: Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]*$")] = ""


class CustomerFields(Part):
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


class ImportedCustomer(CustomerFields):
    lots: list[ImportedLot] = Field([], exclude=True)


class ShopSettings(Part):
    name: Text = OMITTED
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = OMITTED
    code_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,20}$")] = OMITTED
    release_grace_days: Annotated[int, Field(gt=0, le=3_650, strict=True)] = OMITTED
    enroll_customers: bool = False
    exclude_disabled_customers: bool = False
    on_order_cancelled: CancelledOrderPolicy = CancelledOrderPolicy.NONE

    @property
    def settings(self) -> dict[str, Any]:
        """The columns of the shop's row that are named."""
        columns = self.model_dump(include=set(ShopSettings.model_fields), exclude_unset=True)
        if (days := columns.pop("release_grace_days", None)) is not None:
            columns["release_grace"] = timedelta(days=days)
        return columns


class ImportedShop(ShopSettings):
    required = ("name", "currency")

    demo: bool = False
    """For trying things out: its API keys are published, and may be short. Not stored."""
    domain: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\.myshopify\.com$")]
    shopify: ShopifyAccess | None = None
    klaviyo: VendorAccess | None = None
    omnisend: VendorAccess | None = None
    postscript: VendorAccess | None = None
    api_keys: list[ImportedKey] = Field([])
    vip_tiers: list[ImportedTier] = Field([])
    rewards: list[ImportedReward] = Field([])
    customers: list[ImportedCustomer] = Field([])


class ImportFile(Part):
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
