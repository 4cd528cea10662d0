"""Discount codes: what a redemption buys, and the code's state machine.

planned ──────> live ──────> void   captured; removed by a refund
   ├──────────> void                released, and Shopify was never asked for it or refused it
   ├──────────> fenced              released, and the code is blocked at Shopify
   └──────────> foreign             another discount has this code; the attempt uses a new one
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from domain.reward_terms import AppliesTo, PurchaseType
from domain.states import State

# Crockford's base 32: no I, L, O or U, so that a code survives being read aloud or typed from a phone.
CODE_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_LENGTH = 10


class DiscountType(StrEnum):
    """Kind of discount of a reward."""

    FIXED_AMOUNT = "fixed_amount"
    PERCENTAGE = "percentage"
    FREE_SHIPPING = "free_shipping"
    FREE_PRODUCT = "free_product"

    @property
    def has_amount(self) -> bool:
        """Whether the discount has an amount, in money or percent."""
        return self in (DiscountType.FIXED_AMOUNT, DiscountType.PERCENTAGE)


class CodeState(State):
    """State of a discount code."""

    PLANNED = "planned"
    LIVE = "live"
    VOID = "void"
    FENCED = "fenced"
    FOREIGN = "foreign"

    @property
    def successors(self) -> frozenset["CodeState"]:
        """The states that may follow this one."""
        match self:
            case CodeState.PLANNED:
                return frozenset({CodeState.LIVE, CodeState.VOID, CodeState.FENCED, CodeState.FOREIGN})
            case CodeState.LIVE:
                return frozenset({CodeState.VOID})
            case _:
                return frozenset()


@dataclass(frozen=True, kw_only=True)
class Discount:
    """A discount code to create at Shopify.

    Attributes:
        currency: the shop's currency, of all amounts of money.
        amount: in money for `FIXED_AMOUNT`, in percent for `PERCENTAGE`, else None.
        customer_id: Shopify's numeric customer id; only this customer can use the code.
        product_variant_id: Shopify's numeric variant id, for `FREE_PRODUCT`.
        applies_to: the items that it is for. None: the whole order.
        purchase_type: None: Shopify's default, one-time purchases.
        billing_cycles: how many cycles of a subscription it is for. 0: all. None: Shopify's default, one.
        combines_with: the discount classes it can be combined with: `order`, `product`, `shipping`.
    """

    code: str
    redemption_id: str
    title: str
    type: DiscountType
    currency: str
    amount: Decimal | None
    minimum_spend: Decimal | None
    product_variant_id: str | None
    customer_id: str
    starts_at: datetime
    ends_at: datetime | None
    combines_with: tuple[str, ...] = ()
    applies_to: AppliesTo | None = None
    purchase_type: PurchaseType | None = None
    billing_cycles: int | None = None


def new_code(prefix: str) -> str:
    """A random discount code, like `MAGE-7K2Q9XWDFM`. Source of randomness: `secrets`, 50 bits."""
    return f"{prefix}-{''.join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))}"
