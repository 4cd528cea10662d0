"""Values with defaults, clients of the sandbox, and expected outcomes."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
from pydantic import SecretStr

from clients.klaviyo import Klaviyo
from clients.omnisend import Omnisend
from clients.outcomes import VendorError
from clients.postscript import Postscript
from clients.shopify import Shopify, Store
from domain.discounts import Discount, DiscountType
from domain.events import CustomerState, EventKind, RewardEvent
from domain.reward_terms import AppliesTo, ItemKind, PurchaseType

URL_TEMPLATE = "https://sandbox/{shop_domain}/admin/api/{version}/graphql.json"
STORE = Store(domain="corner-shop.myshopify.com", access_token=SecretStr("shpat_0123456789abcdef"))
KEYS = {"klaviyo": "pk_0123456789", "omnisend": "0123-abcdef", "postscript": "sk_0123456789"}
STATE = CustomerState(points_balance=250, lifetime_points=1250, redeemed_points=1000, vip_tier="Gold", status="member")

_DISCOUNT = Discount(
    code="MAGE-7K2Q9XWDFM",
    redemption_id="cer_1",
    title="$10 off",
    type=DiscountType.FIXED_AMOUNT,
    currency="USD",
    amount=Decimal("10.00"),
    minimum_spend=None,
    product_variant_id=None,
    customer_id="4711",
    starts_at=datetime(2026, 11, 23, 12, tzinfo=UTC),
    ends_at=None,
)
_EVENT = RewardEvent(
    kind=EventKind.REWARD_REDEEMED,
    redemption_id="cer_1",
    reward_id="rew_1",
    reward_name="$10 off",
    customer_id="4711",
    email="jane@shopper.io",
    phone="+15005550006",
    points=1000,
    points_balance=0,
    discount_type="fixed_amount",
    discount_code="MAGE-7K2Q9XWDFM",
    discount_value=Decimal("10.00"),
    currency="USD",
    occurred_at=datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC),
    expires_at=datetime(2027, 2, 21, 12, tzinfo=UTC),
)


def a_discount(**changes: Any) -> Discount:
    """10 off for customer 4711."""
    return replace(_DISCOUNT, **changes)


def items(kind: ItemKind, *ids: str) -> AppliesTo:
    return AppliesTo(kind=kind, ids=ids)


def an_event(**changes: Any) -> RewardEvent:
    """Customer 4711 redeemed 1000 points; none are left."""
    return replace(_EVENT, **changes)


EVERY_KIND = [
    a_discount(),
    a_discount(type=DiscountType.PERCENTAGE, amount=Decimal("15.5")),
    a_discount(type=DiscountType.FREE_SHIPPING, amount=None),
    a_discount(type=DiscountType.FREE_PRODUCT, amount=None, product_variant_id="99"),
    a_discount(type=DiscountType.FREE_PRODUCT, amount=None, product_variant_id="99", minimum_spend=Decimal("30.00")),
    a_discount(applies_to=items(ItemKind.COLLECTIONS, "7"), purchase_type=PurchaseType.BOTH, billing_cycles=3),
    a_discount(applies_to=items(ItemKind.VARIANTS, "99"), purchase_type=PurchaseType.ONE_TIME),
    a_discount(type=DiscountType.PERCENTAGE, amount=Decimal(15), applies_to=items(ItemKind.PRODUCTS, "8", "9")),
    a_discount(type=DiscountType.FREE_SHIPPING, amount=None, purchase_type=PurchaseType.SUBSCRIPTION, billing_cycles=0),
]
FREE_PRODUCT, FREE_PRODUCT_WITH_SPEND, OFF_COLLECTION, OFF_VARIANT, OFF_PRODUCTS, SUBSCRIPTION_SHIPPING = EVERY_KIND[3:]


def shopify_client(http: httpx.AsyncClient, version: str = "2026-10") -> Shopify:
    return Shopify(http, url_template=URL_TEMPLATE, api_version=version)


async def send_event(vendor: str, http: httpx.AsyncClient, *, key: str | None = None, **changes: Any) -> None:
    """Send the event with its changes to a marketing vendor."""
    clients = {
        "klaviyo": Klaviyo(http, base_url="https://sandbox/klaviyo", revision="2026-10-15"),
        "omnisend": Omnisend(http, base_url="https://sandbox/omnisend/", version="2026-03-15"),
        "postscript": Postscript(http, base_url="https://sandbox/postscript"),
    }
    await clients[vendor].send_event(SecretStr(key or KEYS[vendor]), an_event(**changes))


def a_status(status: int, **fault: Any) -> dict[str, Any]:
    """The fault that responds with this status."""
    return {"kind": "status", "status": status, **fault}


@dataclass(frozen=True)
class Case:
    """A fault and the outcome that the client must raise. `retry_after` is in seconds."""

    id: str
    fault: dict[str, Any]
    outcome: type[VendorError]
    reason: str = ""
    alarm: bool = False
    retry_after: float | None = None
    vendors: tuple[str, ...] = tuple(KEYS)

    def check(self, error: VendorError) -> None:
        assert type(error) is self.outcome
        assert self.reason in error.reason
        assert getattr(error, "alarm", False) == self.alarm
        wait = None if self.retry_after is None else timedelta(seconds=self.retry_after)
        assert getattr(error, "retry_after", None) == wait
