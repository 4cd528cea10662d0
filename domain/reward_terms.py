"""Terms of a reward beyond its discount: how it is priced and what it applies to."""

from dataclasses import dataclass
from enum import StrEnum


class Pricing(StrEnum):
    """Whether a reward has one price, or the customer chooses how many points to spend."""

    FIXED = "fixed"
    VARIABLE = "variable"


class PurchaseType(StrEnum):
    """The items of an order that a discount applies to."""

    ONE_TIME = "one_time"
    SUBSCRIPTION = "subscription"
    BOTH = "both"

    @property
    def has_one_time(self) -> bool:
        return self is not PurchaseType.SUBSCRIPTION

    @property
    def has_subscription(self) -> bool:
        return self is not PurchaseType.ONE_TIME


class ItemKind(StrEnum):
    """What the ids of `AppliesTo` name."""

    COLLECTIONS = "collections"
    PRODUCTS = "products"
    VARIANTS = "variants"

    @property
    def gid_prefix(self) -> str:
        """Shopify's global ids of this kind, without the number."""
        resources = {"collections": "Collection", "products": "Product", "variants": "ProductVariant"}
        return f"gid://shopify/{resources[self]}/"


@dataclass(frozen=True, kw_only=True)
class AppliesTo:
    """The items that a discount applies to. `ids`: Shopify's numeric ids."""

    kind: ItemKind
    ids: tuple[str, ...]

    @property
    def gids(self) -> list[str]:
        return [f"{self.kind.gid_prefix}{one}" for one in self.ids]


def applies_to_of(stored: dict[str, list[str]] | None) -> AppliesTo | None:
    """The items as they are stored: the kind, and the ids. None: the whole order."""
    if not stored:
        return None
    [(kind, ids)] = stored.items()
    return AppliesTo(kind=ItemKind(kind), ids=tuple(ids))
