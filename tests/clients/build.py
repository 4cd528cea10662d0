"""Builders with defaults: a test names only what matters to it."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pydantic import SecretStr

from clients.shopify import Store
from domain.discounts import Discount, DiscountType
from domain.events import CustomerState, EventKind, RewardEvent

STORE = Store(domain="corner-shop.myshopify.com", access_token=SecretStr("shpat_0123456789abcdef"))
STATE = CustomerState(points_balance=250, lifetime_points=1250, redeemed_points=1000, vip_tier="Gold", status="member")

_DISCOUNT = Discount(
    code="MAGE-7K2Q9XWDFM",
    redemption_id="cer_1",
    title="$10 off",
    type=DiscountType.FIXED_AMOUNT,
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
    """Ten dollars off for customer 4711."""
    return replace(_DISCOUNT, **changes)


def an_event(**changes: Any) -> RewardEvent:
    """Jane redeemed her last thousand points."""
    return replace(_EVENT, **changes)


EVERY_KIND = [
    a_discount(),
    a_discount(type=DiscountType.PERCENTAGE, amount=Decimal("15.5")),
    a_discount(type=DiscountType.FREE_SHIPPING, amount=None),
    a_discount(type=DiscountType.FREE_PRODUCT, amount=None, product_variant_id="99"),
]
