"""A simulated shop: its discounts and metafields, and the GraphQL resolvers that change them.

Source: responses recorded from a development shop (github.com/airhorns/shopify-draft-proxy), Admin API 2026-04.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import count
from typing import Any

from sandbox.discount_rules import Input, user_error, user_errors
from sandbox.vendor import at

NO_DISCOUNT = user_error(["id"], "INVALID", "Code discount does not exist.")
ALL_SCOPES = (
    *("read_discounts", "write_discounts", "read_customers", "write_customers", "read_customer_merge"),
    *("read_orders", "read_products"),
)
USUAL_PRICE = Decimal("10.00")
ALL_PRODUCTS = {"__typename": "Collection", "id": "gid://shopify/Collection/1", "handle": "all"}


@dataclass
class Discount:
    """A code discount; `data` is the input of its mutation."""

    gid: str
    typename: str
    data: Input
    created_at: datetime
    ends_at: datetime | None
    uses: int = 0
    deleted: bool = False

    @property
    def code(self) -> str:
        return self.data["code"]

    @property
    def tags(self) -> list[str]:
        return self.data.get("tags") or []

    @property
    def customers(self) -> list[str] | None:
        """Gids of the customers who can use it, None for all."""
        return at(self.data, "context", "customers", "add")

    @property
    def status(self) -> str:
        """The `DiscountStatus` at the current time."""
        now = datetime.now(UTC)
        if self.ends_at is not None and self.ends_at <= now:
            return "EXPIRED"
        return "SCHEDULED" if self.data["startsAt"] > now else "ACTIVE"

    def node(self) -> dict[str, Any]:
        """The `DiscountCodeNode`."""
        discount = {
            "__typename": self.typename,
            "createdAt": self.created_at,
            "endsAt": self.ends_at,
            "status": self.status,
            "tags": self.tags,
            "asyncUsageCount": self.uses,
            "codes": {"nodes": [{"id": f"{self.gid}?code", "code": self.code, "asyncUsageCount": self.uses}]},
            "context": _context(self.customers),
            "customerGets": {"items": _items(self.data), "value": _value(self.data)},
        }
        data = {name: self.data.get(name) for name in ("title", "startsAt", "usageLimit", "usesPerOrderLimit")}
        once = bool(self.data.get("appliesOncePerCustomer"))
        return {"id": self.gid, "codeDiscount": {**data, "appliesOncePerCustomer": once, **discount}}

    def view(self) -> dict[str, Any]:
        """The JSON of `/_sandbox/shopify`."""
        return {
            "id": self.gid,
            "type": self.typename,
            "code": self.code,
            "status": "deleted" if self.deleted else "expired" if self.status == "EXPIRED" else "live",
            "title": self.data["title"],
            "tags": self.tags,
            "customers": [gid.rsplit("/", 1)[-1] for gid in self.customers or ()],
            "asked": self.data,
            "ends_at": self.ends_at,
            "uses": self.uses,
        }


def _ignore(_key: str, _value: object) -> None:
    """Save nothing."""


@dataclass
class Shop:
    """`save` is called with every object that has changed.

    Product variants exist, at the usual price, unless `prices` says otherwise.
    """

    save: Callable[[str, object], None] = _ignore
    prices: dict[str, Decimal | None] = field(default_factory=dict[str, Decimal | None])
    """Gid of a product variant → price. None: it does not exist."""
    discounts: dict[str, Discount] = field(default_factory=dict[str, Discount])
    scopes: list[str] = field(default_factory=lambda: list(ALL_SCOPES))
    """Access scopes of the token."""
    webhooks: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """Gid → webhook subscription."""
    metafields: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict[tuple[str, str, str], Any])
    _live: dict[str, Discount] = field(default_factory=dict[str, Discount])
    _ids: "count[int]" = field(default_factory=partial(count, 1))

    def root(self) -> dict[str, Any]:
        """The resolver of each root field."""
        return {
            "codeDiscountNodeByCode": self._by_code,
            "collectionByIdentifier": self._collection,
            "productVariant": self._variant,
            "discountCodeBasicCreate": self._creator("DiscountCodeBasic", "basicCodeDiscount"),
            "discountCodeFreeShippingCreate": self._creator("DiscountCodeFreeShipping", "freeShippingCodeDiscount"),
            "discountCodeBxgyCreate": self._creator("DiscountCodeBxgy", "bxgyCodeDiscount"),
            "discountCodeDeactivate": self._deactivate,
            "discountCodeDelete": self._delete,
            "metafieldsSet": self._set_metafields,
            "currentAppInstallation": {"accessScopes": [{"handle": scope} for scope in self.scopes]},
            "webhookSubscriptions": self._subscriptions,
            "webhookSubscriptionCreate": self._subscribe,
        }

    def restore(self, value: Discount | dict[str, Any]) -> None:
        """Add an object that was saved."""
        if isinstance(value, Discount):
            gid = value.gid
            self.discounts[gid] = value
            if not value.deleted:
                self._live[value.code.casefold()] = value
        else:
            gid = value["id"]
            if "topic" in value:
                self.webhooks[gid] = value
                self._ids = count(max(int(gid.rpartition("/")[2]) + 1, next(self._ids)))
                return
            self.metafields[value["ownerId"], value["namespace"], value["key"]] = value
        number = int(gid.rpartition("/")[2])
        self._ids = count(max(number + 1, next(self._ids)))

    def use(self, code: str) -> bool:
        """Count a use of the code by an order; False if the code is not usable."""
        found = self._find(code)
        if found is None or found.status != "ACTIVE" or found.uses == found.data.get("usageLimit"):
            return False
        found.uses += 1
        self.save(found.gid, found)
        return True

    def _find(self, code: str) -> Discount | None:
        return self._live.get(code.casefold())

    def _get(self, gid: str) -> Discount | None:
        found = self.discounts.get(gid)
        return None if found is None or found.deleted else found

    def _by_code(self, _info: object, code: str) -> dict[str, Any] | None:
        found = self._find(code)
        return found and found.node()

    def _collection(self, _info: object, identifier: dict[str, str]) -> dict[str, str] | None:
        return ALL_PRODUCTS if identifier.get("handle") == ALL_PRODUCTS["handle"] else None

    def _variant(self, _info: object, id: str) -> dict[str, Any] | None:  # noqa: A002 - Shopify's name
        price = self.prices.get(id, USUAL_PRICE)
        return None if price is None else {"id": id, "price": f"{price:f}"}

    def _creator(self, typename: str, argument: str) -> Any:
        def create(_info: object, **arguments: Input) -> dict[str, Any]:
            return self._create(typename, argument, arguments[argument])

        return create

    def _create(self, typename: str, argument: str, data: Input) -> dict[str, Any]:
        taken = self._find(data.get("code") or "") is not None
        if errors := user_errors(argument, data, code_is_taken=taken):
            return {"codeDiscountNode": None, "userErrors": errors}
        gid = f"gid://shopify/DiscountCodeNode/{next(self._ids)}"
        created = Discount(gid, typename, data, datetime.now(UTC), data.get("endsAt"))
        self.discounts[gid] = self._live[created.code.casefold()] = created
        self.save(gid, created)
        return {"codeDiscountNode": created.node(), "userErrors": []}

    def _deactivate(self, _info: object, id: str) -> dict[str, Any]:  # noqa: A002 - Shopify's name
        found = self._get(id)
        if found is None:
            return {"codeDiscountNode": None, "userErrors": [NO_DISCOUNT]}
        if found.status != "EXPIRED":
            found.ends_at = datetime.now(UTC)
            self.save(found.gid, found)
        return {"codeDiscountNode": found.node(), "userErrors": []}

    def _delete(self, _info: object, id: str) -> dict[str, Any]:  # noqa: A002 - Shopify's name
        found = self._get(id)
        if found is None:
            return {"deletedCodeDiscountId": None, "userErrors": [NO_DISCOUNT]}
        found.deleted = True
        del self._live[found.code.casefold()]
        self.save(found.gid, found)
        return {"deletedCodeDiscountId": found.gid, "userErrors": []}

    def _subscriptions(self, _info: object, **_page: object) -> dict[str, Any]:
        return {"nodes": list(self.webhooks.values())}

    def _subscribe(self, _info: object, topic: str, webhookSubscription: Input) -> dict[str, Any]:  # noqa: N803 - Shopify's
        uri = webhookSubscription.get("uri") or ""
        if topic == "CUSTOMERS_MERGE" and "read_customer_merge" not in self.scopes:
            return _unsubscribed("topic", "The topic requires the scope read_customer_merge")
        if not uri.startswith("https://"):
            return _unsubscribed("uri", "Address protocol http:// is not supported")
        if any((one["topic"], one["uri"]) == (topic, uri) for one in self.webhooks.values()):
            return _unsubscribed("uri", "Address for this topic has already been taken")
        gid = f"gid://shopify/WebhookSubscription/{next(self._ids)}"
        self.webhooks[gid] = {"id": gid, "topic": topic, "uri": uri}
        self.save(gid, self.webhooks[gid])
        return {"webhookSubscription": self.webhooks[gid], "userErrors": []}

    def _set_metafields(self, _info: object, metafields: list[Input]) -> dict[str, Any]:
        errors = [error for index, data in enumerate(metafields) for error in _metafield_errors(index, data)]
        if errors:
            return {"metafields": None, "userErrors": errors}
        return {"metafields": [self._set_metafield(data) for data in metafields], "userErrors": []}

    def _set_metafield(self, data: Input) -> dict[str, Any]:
        key = (data["ownerId"], data["namespace"], data["key"])
        gid = self.metafields[key]["id"] if key in self.metafields else f"gid://shopify/Metafield/{next(self._ids)}"
        self.metafields[key] = {"id": gid, "updatedAt": datetime.now(UTC), **data}
        self.save(gid, self.metafields[key])
        return self.metafields[key]


def _unsubscribed(argument: str, message: str) -> dict[str, Any]:
    return {
        "webhookSubscription": None,
        "userErrors": [{"field": ["webhookSubscription", argument], "message": message}],
    }


def _context(customers: list[str] | None) -> dict[str, Any]:
    if customers is None:
        return {"__typename": "DiscountBuyerSelectionAll", "all": "ALL"}
    return {"__typename": "DiscountCustomers", "customers": [{"id": gid} for gid in customers]}


def _items(data: Input) -> dict[str, Any]:
    collections: list[str] | None = at(data, "customerGets", "items", "collections", "add")
    if collections is not None:
        nodes = [{"__typename": "Collection", "id": gid, "handle": gid.rsplit("/", 1)[-1]} for gid in collections]
        return {"__typename": "DiscountCollections", "collections": {"nodes": nodes}}
    products: Input | None = at(data, "customerGets", "items", "products")
    if products is None:
        return {"__typename": "AllDiscountItems", "allItems": True}
    added = {"products": "productsToAdd", "productVariants": "productVariantsToAdd"}
    nodes = {name: {"nodes": [{"id": gid} for gid in products.get(field) or ()]} for name, field in added.items()}
    return {"__typename": "DiscountProducts", **nodes}


def _value(data: Input) -> dict[str, Any] | None:
    amount: Decimal | None = at(data, "customerGets", "value", "discountAmount", "amount")
    if amount is not None:
        money = {"amount": amount, "currencyCode": "USD"}
        return {"__typename": "DiscountAmount", "amount": money, "appliesOnEachItem": False}
    percentage: float | None = at(data, "customerGets", "value", "percentage")
    return None if percentage is None else {"__typename": "DiscountPercentage", "percentage": percentage}


def _metafield_errors(index: int, data: Input) -> list[dict[str, Any]]:
    field = ["metafields", str(index)]
    if not data.get("type") or not data.get("namespace"):
        message = "Type and namespace can't be blank"
        return [{"field": [*field, "type"], "code": "BLANK", "message": message, "elementIndex": None}]
    if data["type"] == "json" and not _is_json(data["value"]):
        message = "Value is invalid JSON."
        return [{"field": [*field, "value"], "code": "INVALID_VALUE", "message": message, "elementIndex": None}]
    return []


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
