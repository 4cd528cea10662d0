"""What a redemption buys: one Shopify discount code for one customer."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

# Crockford's base 32: no I, L, O or U, so that a code survives being read aloud or typed from a phone.
CODE_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_LENGTH = 10


class DiscountType(StrEnum):
    """The four kinds of discount a reward can give."""

    FIXED_AMOUNT = "fixed_amount"
    PERCENTAGE = "percentage"
    FREE_SHIPPING = "free_shipping"
    FREE_PRODUCT = "free_product"

    @property
    def has_amount(self) -> bool:
        """Whether a figure belongs to it: money, or percent."""
        return self in (DiscountType.FIXED_AMOUNT, DiscountType.PERCENTAGE)


@dataclass(frozen=True, kw_only=True)
class Discount:
    """A discount code as Shopify is asked to make it.

    Attributes:
        amount: in the shop's currency for `FIXED_AMOUNT`, in percent for `PERCENTAGE`, else None.
        customer_id: Shopify's numeric customer id; only this customer can use the code.
        product_variant_id: Shopify's numeric variant id, for `FREE_PRODUCT`.
        combines_with: the discount classes it can be combined with: `order`, `product`, `shipping`.
    """

    code: str
    redemption_id: str
    title: str
    type: DiscountType
    amount: Decimal | None
    minimum_spend: Decimal | None
    product_variant_id: str | None
    customer_id: str
    starts_at: datetime
    ends_at: datetime | None
    combines_with: tuple[str, ...] = ()


def new_code(prefix: str) -> str:
    """A fresh discount code that nobody can guess, like `MAGE-7K2Q9XWDFM`."""
    return f"{prefix}-{''.join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))}"
