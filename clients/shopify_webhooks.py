"""Shopify's webhooks: how they are signed, and what each topic's body says."""

import base64
import hmac
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, SecretStr


class Topic(StrEnum):
    """The topics that mean something to a loyalty programme."""

    ORDER_CREATED = "orders/create"
    ORDER_CANCELLED = "orders/cancelled"
    CUSTOMER_UPDATED = "customers/update"
    CUSTOMER_DELETED = "customers/delete"
    APP_UNINSTALLED = "app/uninstalled"
    DATA_REQUESTED = "customers/data_request"
    CUSTOMER_REDACTED = "customers/redact"
    SHOP_REDACTED = "shop/redact"


def signature(body: bytes, secret: SecretStr) -> str:
    """What `X-Shopify-Hmac-Sha256` says of this body."""
    return base64.b64encode(hmac.digest(secret.get_secret_value().encode(), body, "sha256")).decode()


def is_signed(body: bytes, given: str, secrets: Iterable[SecretStr]) -> bool:
    """Whether one of the secrets signed these very bytes; for an hour after a rotation it can be the old one."""
    return any(hmac.compare_digest(signature(body, secret).encode(), given.encode()) for secret in secrets)


# PostgreSQL takes no NUL in text.
Text = Annotated[str, AfterValidator(lambda text: text.replace("\x00", ""))]


class Body(BaseModel):
    """A body. Ids are numbers at Shopify, text here; errors do not show what was in it: it tells of people."""

    model_config = ConfigDict(coerce_numbers_to_str=True, hide_input_in_errors=True)


class UsedCode(Body):
    """A code that was entered at the checkout."""

    code: Text


class Order(Body):
    """`orders/create`, `orders/cancelled`."""

    id: Text
    created_at: AwareDatetime
    discount_codes: list[UsedCode]


class CustomerProfile(Body):
    """`customers/update`. A field that is absent was not told; one that is null is empty."""

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
    """A customer, as the privacy topics name them; some have no id."""

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
    """The request that the merchant sees at Shopify."""

    id: Text


class DataRequested(CustomerRedacted):
    """`customers/data_request`."""

    data_request: DataRequest
