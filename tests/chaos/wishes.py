"""What people want of the API: each wish is one request, however often it is sent, with every answer it got."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from pydantic import SecretStr

from clients.shopify_webhooks import Topic, signature
from tests.chaos.records import Answer
from tests.chaos.world import DOMAIN, FULL_KEY, SHOPIFY_SIGNS_WITH

_MERCHANT = {"Authorization": FULL_KEY}


@dataclass(frozen=True, kw_only=True)
class Request:
    """A POST, the same on every try."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Wish(ABC):
    """One intention."""

    allowed: ClassVar[frozenset[str]]
    """What the API may answer."""

    answers: list[Answer] = field(default_factory=list[Answer])
    afterwards: list[Answer] = field(default_factory=list[Answer])
    """Answers to those who ask again when all is over."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is known by in the traces."""

    @property
    @abstractmethod
    def request(self) -> Request:
        """What is sent."""

    @property
    def decided(self) -> list[Answer]:
        """The final answers."""
        return [answer for answer in (*self.answers, *self.afterwards) if answer.is_decided]


@dataclass(frozen=True, kw_only=True)
class Purchase(Wish):
    """To buy a reward, under one key."""

    allowed = frozenset(
        {
            "201",
            "404 customer_not_found",
            "404 reward_not_found",
            "422 insufficient_points",
            "422 reward_sold_out",
            "503 shopify_unavailable",
            "503 engine_unavailable",
        }
    )

    key: str
    customer: str
    reward: str

    @property
    def name(self) -> str:
        """Its key."""
        return self.key

    @property
    def request(self) -> Request:
        """`POST /v1/rewards/{id}/purchase`"""
        headers = {**_MERCHANT, "Idempotency-Key": self.key}
        body = json.dumps({"customer_identifier": self.customer}).encode()
        return Request(path=f"/v1/rewards/{self.reward}/purchase", headers=headers, body=body)

    @property
    def bought(self) -> list[Answer]:
        """Every 201."""
        return [answer for answer in self.decided if answer.status == 201]


@dataclass(frozen=True, kw_only=True)
class Refund(Wish):
    """To give a code back and have the points again. Only codes that somebody holds are given back."""

    allowed = frozenset({"200", "422 reward_already_used", "503 shopify_unavailable", "503 engine_unavailable"})

    redemption_id: str

    @property
    def name(self) -> str:
        """Its redemption."""
        return self.redemption_id

    @property
    def request(self) -> Request:
        """`POST /v1/reward-history/{id}/refund`"""
        return Request(path=f"/v1/reward-history/{self.redemption_id}/refund", headers=_MERCHANT, body=b"{}")


@dataclass(frozen=True, kw_only=True)
class Order(Wish):
    """Shopify's wish to tell of an order with a code. Its webhook's id is the redemption's: each has one order."""

    allowed = frozenset({"200", "503 engine_unavailable"})

    number: int
    redemption_id: str
    code: str
    counted: bool
    """Whether Shopify had counted the use before it told of it; it can be late with that."""
    placed_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def name(self) -> str:
        """Its redemption."""
        return self.redemption_id

    @property
    def request(self) -> Request:
        """`POST /webhooks/shopify`"""
        order = {"id": self.number, "created_at": self.placed_at.isoformat(), "discount_codes": [{"code": self.code}]}
        body = json.dumps(order).encode()
        headers = {
            "X-Shopify-Topic": Topic.ORDER_CREATED,
            "X-Shopify-Shop-Domain": DOMAIN,
            "X-Shopify-Webhook-Id": self.redemption_id,
            "X-Shopify-Triggered-At": self.placed_at.isoformat(),
            "X-Shopify-Hmac-Sha256": signature(body, SecretStr(SHOPIFY_SIGNS_WITH)),
        }
        return Request(path="/webhooks/shopify", headers=headers, body=body)


@dataclass(frozen=True, kw_only=True)
class Adjustment(Wish):
    """To give a customer points, or to take some, under one key."""

    allowed = frozenset({"200", "503 engine_unavailable"})

    key: str
    customer: str
    points: int

    @property
    def name(self) -> str:
        """Its key."""
        return self.key

    @property
    def request(self) -> Request:
        """`POST /v1/customers/{id}/points`"""
        headers = {**_MERCHANT, "Idempotency-Key": self.key}
        body = json.dumps({"adjustment": self.points}).encode()
        return Request(path=f"/v1/customers/{self.customer}/points", headers=headers, body=body)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """All that anybody wanted."""

    purchases: list[Purchase] = field(default_factory=list[Purchase])
    refunds: list[Refund] = field(default_factory=list[Refund])
    orders: list[Order] = field(default_factory=list[Order])
    adjustments: list[Adjustment] = field(default_factory=list[Adjustment])

    def __iter__(self) -> Iterator[Wish]:
        return iter((*self.purchases, *self.refunds, *self.orders, *self.adjustments))
