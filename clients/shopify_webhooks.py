"""Shopify's webhooks: signature and body of each topic that Pointsaga processes."""

import base64
import hmac
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, SecretStr


class Topic(StrEnum):
    ORDER_CREATED = "orders/create"
    ORDER_CANCELLED = "orders/cancelled"
    CUSTOMER_UPDATED = "customers/update"
    CUSTOMER_DELETED = "customers/delete"
    APP_UNINSTALLED = "app/uninstalled"
    DATA_REQUESTED = "customers/data_request"
    CUSTOMER_REDACTED = "customers/redact"
    SHOP_REDACTED = "shop/redact"


def signature(body: bytes, secret: SecretStr) -> str:
    """The value of `X-Shopify-Hmac-Sha256` for this body."""
    return base64.b64encode(hmac.digest(secret.get_secret_value().encode(), body, "sha256")).decode()


def is_signed(body: bytes, header: str, secrets: Iterable[SecretStr]) -> bool:
    """Whether one of the secrets signed this body. Shopify may use the old secret for an hour after a rotation.

    Source: shopify.dev, "Verify webhook deliveries".
    """
    return any(hmac.compare_digest(signature(body, secret).encode(), header.encode()) for secret in secrets)


# PostgreSQL text cannot contain NUL.
Text = Annotated[str, AfterValidator(lambda text: text.replace("\x00", ""))]


class Body(BaseModel):
    """A webhook body. Shopify's numeric ids become text. Validation errors omit the input: it is personal data."""

    model_config = ConfigDict(coerce_numbers_to_str=True, hide_input_in_errors=True)


class UsedCode(Body):
    code: Text


class Order(Body):
    """`orders/create`, `orders/cancelled`."""

    id: Text
    created_at: AwareDatetime
    discount_codes: list[UsedCode]


class CustomerProfile(Body):
    """`customers/update`. An absent field is unchanged, a null field is empty."""

    id: Text
    updated_at: AwareDatetime
    email: Text | None = None
    phone: Text | None = None
    first_name: Text | None = None
    last_name: Text | None = None


class CustomerDeleted(Body):
    """`customers/delete`."""

    id: Text


class Person(Body):
    """A customer in the privacy topics; `id` can be missing."""

    id: Text | None = None
    email: Text | None = None
    phone: Text | None = None


class ShopRedacted(Body):
    """`shop/redact`."""

    shop_domain: str


class CustomerRedacted(ShopRedacted):
    """`customers/redact`."""

    customer: Person


class DataRequest(Body):
    """The data request's id in the Shopify admin."""

    id: Text


class DataRequested(CustomerRedacted):
    """`customers/data_request`."""

    data_request: DataRequest
