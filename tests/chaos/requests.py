"""The requests of customers, of the merchant's staff and of Shopify: their content, and the answers allowed to them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import SecretStr

from clients.shopify_webhooks import Topic, signature
from tests.chaos.shop import WEBHOOK_SECRET, ChaosShop
from tests.evidence import Json, Purchase, Refund, Request

_UNAVAILABLE = frozenset({"503 shopify_unavailable", "503 engine_unavailable"})


@dataclass(frozen=True, kw_only=True)
class Order(Request):
    """Shopify's webhook of an order with a code. Its webhook id is the redemption's: each has one order.

    Attributes:
        counted: whether Shopify has counted the use before it sends the webhook. It can be late with that.
    """

    number: int
    redemption_id: str
    code: str
    counted: bool
    placed_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, kw_only=True)
class Cancellation(Request):
    """Shopify's webhook that an order was cancelled. It can come before the webhook of the order."""

    order: Order
    cancelled_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def redemption_id(self) -> str:
        return self.order.redemption_id


@dataclass(frozen=True, kw_only=True)
class Adjustment(Request):
    """Points that staff add or deduct."""

    key: str
    customer: str
    points: int


@dataclass(frozen=True, kw_only=True)
class Erasure(Request):
    """Shopify's webhook that erases a customer."""

    customer: str
    topic: Topic
    sent_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, kw_only=True)
class Merge(Request):
    """Shopify's webhook that two customers were merged: `kept` has everything of `customer`."""

    customer: str
    kept: str
    sent_at: datetime = field(default_factory=lambda: datetime.now(UTC))


AnyRequest = Purchase | Refund | Order | Cancellation | Adjustment | Erasure | Merge
EXCLUDED = "403 customer_excluded"
"""Also allowed to a purchase whose customer is being erased."""
ALLOWED: dict[type[AnyRequest], frozenset[str]] = {
    Purchase: _UNAVAILABLE
    | {
        "201",
        "202",
        "404 customer_not_found",
        "404 reward_not_found",
        "422 insufficient_points",
        "422 reward_sold_out",
        "422 reward_limit_reached",
        "422 points_not_a_multiple",
        "422 below_minimum",
        "422 above_maximum",
    },
    Refund: _UNAVAILABLE | {"200", "422 reward_already_used"},
    **dict.fromkeys((Order, Cancellation, Adjustment, Erasure, Merge), frozenset({"200", "503 engine_unavailable"})),
}


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Every request of the run to one shop."""

    purchases: list[Purchase] = field(default_factory=list[Purchase])
    refunds: list[Refund] = field(default_factory=list[Refund])
    orders: list[Order] = field(default_factory=list[Order])
    cancellations: list[Cancellation] = field(default_factory=list[Cancellation])
    adjustments: list[Adjustment] = field(default_factory=list[Adjustment])
    erasures: list[Erasure] = field(default_factory=list[Erasure])
    merges: list[Merge] = field(default_factory=list[Merge])

    def __iter__(self) -> Iterator[AnyRequest]:
        by_kind: list[list[AnyRequest]] = [*vars(self).values()]
        return iter([request for requests in by_kind for request in requests])


def subject_of(request: AnyRequest) -> str:
    """What violations name it by: its idempotency key, its redemption or its customer."""
    match request:
        case Purchase() | Adjustment():
            return request.key
        case Erasure() | Merge():
            return request.customer
        case _:
            return request.redemption_id


def http_request(request: AnyRequest, shop: ChaosShop) -> tuple[str, dict[str, str], bytes]:
    """Path, headers and body of the POST, the same on every attempt."""
    headers = {"Authorization": shop.full_key, "Content-Type": "application/json"}
    if isinstance(request, Purchase | Adjustment):
        headers["Idempotency-Key"] = request.key
    match request:
        case Purchase():
            path, body = f"/v1/rewards/{request.reward}/purchase", _purchase(request)
            headers |= {"Prefer": "respond-async"} if request.is_queued else {}
        case Adjustment():
            path, body = f"/v1/customers/{request.customer}/points", {"adjustment": request.points}
        case Refund():
            path, body = f"/v1/reward-history/{request.redemption_id}/refund", dict[str, str]()
        case Order():
            return _webhook(shop, Topic.ORDER_CREATED, request.redemption_id, request.placed_at, _order(request))
        case Cancellation():
            webhook_id = f"cancellation-{request.redemption_id}"
            body = {**_order(request.order), "cancelled_at": request.cancelled_at.isoformat()}
            return _webhook(shop, Topic.ORDER_CANCELLED, webhook_id, request.cancelled_at, body)
        case Merge():
            return _webhook(shop, Topic.CUSTOMERS_MERGED, f"merge-{request.customer}", request.sent_at, _merge(request))
        case Erasure():
            webhook_id = f"erasure-{request.customer}"
            return _webhook(shop, request.topic, webhook_id, request.sent_at, _erasure(request, shop))
    return path, headers, json.dumps(body).encode()


def _purchase(purchase: Purchase) -> Json:
    chosen = {} if purchase.points is None else {"points_to_spend": purchase.points}
    return {"customer_identifier": purchase.customer, **chosen}


def _merge(merge: Merge) -> Json:
    return {
        "admin_graphql_api_customer_kept_id": f"gid://shopify/Customer/{merge.kept}",
        "admin_graphql_api_customer_deleted_id": f"gid://shopify/Customer/{merge.customer}",
        "status": "completed",
    }


def _order(order: Order) -> Json:
    return {"id": order.number, "created_at": order.placed_at.isoformat(), "discount_codes": [{"code": order.code}]}


def _erasure(erasure: Erasure, shop: ChaosShop) -> Json:
    if erasure.topic is Topic.CUSTOMER_DELETED:
        return {"id": int(erasure.customer)}
    return {"shop_id": 1, "shop_domain": shop.domain, "customer": {"id": int(erasure.customer)}}


def _webhook(
    shop: ChaosShop, topic: Topic, webhook_id: str, triggered_at: datetime, document: Json
) -> tuple[str, dict[str, str], bytes]:
    body = json.dumps(document).encode()
    headers = {
        "Content-Type": "application/json",
        "X-Shopify-Topic": topic,
        "X-Shopify-Shop-Domain": shop.domain,
        "X-Shopify-Webhook-Id": webhook_id,
        "X-Shopify-Triggered-At": triggered_at.isoformat(),
        "X-Shopify-Hmac-Sha256": signature(body, SecretStr(WEBHOOK_SECRET)),
    }
    return "/webhooks/shopify", headers, body
