"""Shopify's webhooks: signature and body of each topic that Pointsaga processes."""

import base64
import hmac
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from domain.orders import RefundedPart


class Topic(StrEnum):
    ORDER_CREATED = "orders/create"
    ORDER_CANCELLED = "orders/cancelled"
    REFUND_CREATED = "refunds/create"
    CUSTOMER_CREATED = "customers/create"
    CUSTOMER_UPDATED = "customers/update"
    CUSTOMER_DISABLED = "customers/disable"
    CUSTOMER_ENABLED = "customers/enable"
    CUSTOMERS_MERGED = "customers/merge"
    CUSTOMER_DELETED = "customers/delete"
    APP_UNINSTALLED = "app/uninstalled"
    DATA_REQUESTED = "customers/data_request"
    CUSTOMER_REDACTED = "customers/redact"
    SHOP_REDACTED = "shop/redact"

    @property
    def in_graphql(self) -> str | None:
        """Its name in the Admin API. None: a compliance topic, which only the app's configuration subscribes."""
        is_compliance = self in (Topic.DATA_REQUESTED, Topic.CUSTOMER_REDACTED, Topic.SHOP_REDACTED)
        return None if is_compliance else self.upper().replace("/", "_")

    @property
    def erases(self) -> bool:
        """Whether its webhooks delete personal data for good."""
        return self in (Topic.CUSTOMER_DELETED, Topic.CUSTOMER_REDACTED, Topic.SHOP_REDACTED)


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """What distinguishes a topic's bodies from those of other topics.

    Attributes:
        resource: type in `admin_graphql_api_id`, which is absent if this is None.
        always: fields that are never absent or null.
        never: fields that are always absent.
    """

    resource: str | None = None
    always: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()

    def fits(self, body: dict[str, Any]) -> bool:
        global_id = body.get("admin_graphql_api_id")
        expected = f"gid://shopify/{self.resource}/" if self.resource else None
        is_resource = global_id is None or (expected is not None and str(global_id).startswith(expected))
        return is_resource and self.never.isdisjoint(body) and all(body.get(name) is not None for name in self.always)


# Source: Shopify's published examples of each topic, API 2026-10.
_SHAPES = {
    Topic.ORDER_CREATED: _Shape(resource="Order"),
    Topic.ORDER_CANCELLED: _Shape(resource="Order", always=frozenset({"cancelled_at"})),
    Topic.REFUND_CREATED: _Shape(resource="Refund", always=frozenset({"order_id"})),
    Topic.CUSTOMER_CREATED: _Shape(resource="Customer", always=frozenset({"updated_at"})),
    Topic.CUSTOMER_UPDATED: _Shape(resource="Customer"),
    Topic.CUSTOMER_DISABLED: _Shape(resource="Customer", always=frozenset({"state", "updated_at"})),
    Topic.CUSTOMER_ENABLED: _Shape(resource="Customer", always=frozenset({"state", "updated_at"})),
    Topic.CUSTOMERS_MERGED: _Shape(
        always=frozenset({"admin_graphql_api_customer_kept_id", "admin_graphql_api_customer_deleted_id", "status"})
    ),
    Topic.CUSTOMER_DELETED: _Shape(
        resource="Customer", always=frozenset({"id"}), never=frozenset({"created_at", "updated_at"})
    ),
    Topic.APP_UNINSTALLED: _Shape(never=frozenset({"customer", "discount_codes", "shop_domain"})),
    Topic.DATA_REQUESTED: _Shape(always=frozenset({"customer", "data_request"})),
    Topic.CUSTOMER_REDACTED: _Shape(always=frozenset({"customer"}), never=frozenset({"data_request"})),
    Topic.SHOP_REDACTED: _Shape(always=frozenset({"shop_domain"}), never=frozenset({"customer"})),
}


def fits_topic(topic: Topic, body: dict[str, Any]) -> bool:
    """Whether the body can be one of this topic. The signature covers the body only, not the header with the topic."""
    return _SHAPES[topic].fits(body)


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


def _or_none(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    """None instead of an error: what an order cost must not keep its code from being used."""
    try:
        return validate(value)
    except ValidationError:
        return None


Lenient = WrapValidator(_or_none)


class LineItem(Body):
    id: Text
    quantity: int


class Order(Body):
    """`orders/create`, `orders/cancelled`. `total_price` is in the shop's currency."""

    id: Text
    created_at: AwareDatetime
    discount_codes: list[UsedCode]
    cancelled_at: AwareDatetime | None = None
    total_price: Annotated[Decimal | None, Lenient] = None
    line_items: Annotated[list[LineItem] | None, Lenient] = None

    @property
    def lines(self) -> dict[str, int] | None:
        """Line item → units. None: the body has no line items."""
        return None if self.line_items is None else {line.id: line.quantity for line in self.line_items}


class RefundedLine(Body):
    line_item_id: Text
    quantity: int


class Transaction(Body):
    kind: str = ""
    status: str = ""
    amount: Decimal = Decimal()
    currency: str | None = None


class Refund(Body):
    """`refunds/create`."""

    id: Text
    order_id: Text
    refund_line_items: Annotated[list[RefundedLine] | None, Lenient] = None
    transactions: Annotated[list[Transaction] | None, Lenient] = None

    def part(self, currency: str) -> RefundedPart:
        """What it returns, with the money that is in this currency, the shop's."""
        money = (
            one.amount
            for one in self.transactions or ()
            if (one.kind, one.status) == ("refund", "success") and one.currency in (None, currency)
        )
        units = Counter[str]()
        for line in self.refund_line_items or ():
            units[line.line_item_id] += line.quantity
        return RefundedPart(amount=sum(money, Decimal()), lines=units)


class CustomerProfile(Body):
    """`customers/create`, `customers/update`. An absent field is unchanged, a null field is empty."""

    id: Text
    updated_at: AwareDatetime
    email: Text | None = None
    phone: Text | None = None
    first_name: Text | None = None
    last_name: Text | None = None


class CustomerAccount(Body):
    """`customers/disable`, `customers/enable`. Only the body is signed, so that its state counts, not the topic."""

    id: Text
    updated_at: AwareDatetime
    state: Text

    @property
    def is_disabled(self) -> bool:
        """Whether the account is disabled."""
        return self.state.lower() == "disabled"


CustomerGid = Annotated[Text, AfterValidator(lambda gid: gid.removeprefix("gid://shopify/Customer/"))]


class CustomersMerged(Body):
    """`customers/merge`. It is also sent for a merge that failed."""

    kept_id: CustomerGid = Field(validation_alias="admin_graphql_api_customer_kept_id")
    merged_id: CustomerGid = Field(validation_alias="admin_graphql_api_customer_deleted_id")
    status: Text

    @property
    def is_completed(self) -> bool:
        """Whether the customers are merged."""
        return self.status.lower() == "completed"


class CustomerDeleted(Body):
    """`customers/delete`."""

    id: Text


class AppUninstalled(Body):
    """`app/uninstalled`: the shop."""

    myshopify_domain: Text | None = None


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
