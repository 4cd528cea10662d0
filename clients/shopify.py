"""Shopify's Admin API: discount codes and the customer's loyalty metafield.

These mutations take no idempotency key (Admin API 2026-10). A code is unique in its shop, so it serves as the key.
"""

import json
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import httpx
import structlog
from pydantic import AliasPath, Field, SecretStr, ValidationError
from pydantic.alias_generators import to_snake

from clients.destinations import Limits
from clients.outcomes import NotExecuted, Refused, Unknown, observed_call
from clients.shopify_discounts import (
    DiscountNode,
    FoundDiscount,
    basic_input,
    customer_gid,
    fence_input,
    free_product_input,
    free_product_with_spend_input,
    free_shipping_input,
    variant_gid,
)
from clients.shopify_responses import ShopifyModel, UserError, reported_budget, response_data
from clients.vendor_http import Redactor, VendorHttp
from domain.discounts import Discount, DiscountType
from domain.events import CustomerState
from domain.shopify_budget import ShopifyBudget

__all__ = ["CodeTaken", "FoundDiscount", "Shopify", "Store"]

# Shopify answers 504 after 10 s, so no response after that means a lost connection. Source: shopify.dev, status codes.
CALL_SECONDS = 12.0

# Per shop. A purchase has a deadline, so its circuit breaker probes sooner. Other work leaves most of a shop's rate
# limit to purchases.
PURCHASE_LIMITS = Limits(in_flight=25, open_seconds=5)
BACKGROUND_LIMITS = Limits(in_flight=10, open_seconds=30)

# `customerBuys` of a "buy X get Y" discount rejects `items.all`, so it names the collection of all products. Its handle
# is the one of the storefront page /collections/all. Few shops have it as a collection, so only a free product with a
# minimum spend needs it.
ALL_PRODUCTS_HANDLE = "all"

# Not of the form of a code.
UNUSED_CODE = "pointsaga/check"

_Model = TypeVar("_Model", bound=ShopifyModel)

_log = structlog.get_logger()


@dataclass(frozen=True)
class Store:
    """A merchant's shop with its access token."""

    domain: str
    access_token: SecretStr


class CodeTaken(Refused):
    """The code exists. Look it up: an earlier call of unknown outcome, or another party, created it."""


class _Node(ShopifyModel):
    id: str
    uses: int | None = Field(None, validation_alias=AliasPath("codeDiscount", "asyncUsageCount"))


class _Variant(ShopifyModel):
    price: Decimal


class _Mutation(ShopifyModel):
    code_discount_node: _Node | None = None
    user_errors: tuple[UserError, ...] = ()


class Shopify:
    """Client for all shops. Calls are not retried here; they raise `NotExecuted`, `Refused` or `Unknown`."""

    def __init__(
        self, http: httpx.AsyncClient, *, url_template: str, api_version: str, limits: Limits = BACKGROUND_LIMITS
    ) -> None:
        self._http = VendorHttp("Shopify", http, seconds=CALL_SECONDS, limits=limits)
        self._url_template = url_template
        self._version = api_version
        self._budgets: dict[str, tuple[ShopifyBudget, float]] = {}

    def reported_budget(self, domain: str) -> ShopifyBudget | None:
        """The shop's budget by its last response with throttle figures, as it is now. None: there was none."""
        if domain not in self._budgets:
            return None
        budget, reported_at = self._budgets[domain]
        return budget.after(timedelta(seconds=time.monotonic() - reported_at))

    async def create_discount(self, store: Store, discount: Discount) -> str:
        """Create the discount and return its gid. Raises `CodeTaken` if the code exists."""
        with observed_call("shopify", "create_discount"):
            return await self._create_discount(store, discount)

    async def _create_discount(self, store: Store, discount: Discount) -> str:
        match discount.type:
            case DiscountType.FREE_SHIPPING:
                return await self._create(store, "FreeShipping", free_shipping_input(discount))
            case DiscountType.FREE_PRODUCT if discount.minimum_spend:
                collection = await self._all_products(store)
                return await self._create(store, "Bxgy", free_product_with_spend_input(discount, collection))
            case DiscountType.FREE_PRODUCT:
                price = await self._price(store, discount)
                return await self._create(store, "Basic", free_product_input(discount, price))
            case DiscountType.FIXED_AMOUNT | DiscountType.PERCENTAGE:
                return await self._create(store, "Basic", basic_input(discount))

    async def fence_code(self, store: Store, discount: Discount) -> str:
        """Create an expired discount with the code, so that a late commit of the real one fails with TAKEN.

        Raises:
            CodeTaken: the code exists; it may belong to the real discount or to this fence.
        """
        with observed_call("shopify", "fence_code"):
            return await self._create(store, "Basic", fence_input(discount))

    async def find_discount(self, store: Store, code: str) -> FoundDiscount | None:
        """The discount with this code, in upper or lower case, also if it has expired; None if there is none."""
        redactor = self._redactor(store, code)
        with observed_call("shopify", "find_discount"):
            node = await self._execute(store, "codeDiscountNodeByCode", {"code": code}, redactor)
            return None if node is None else self._parse(DiscountNode, node).to_found_discount()

    async def check_token(self, store: Store) -> None:
        """Find out whether Shopify accepts the token and lets it read discounts. Raises as `find_discount`."""
        await self.find_discount(store, UNUSED_CODE)

    async def delete_discount(self, store: Store, gid: str) -> None:
        """Delete the discount. Does nothing if it does not exist."""
        with observed_call("shopify", "delete_discount"):
            await self._end(store, "discountCodeDelete", gid)

    async def deactivate_discount(self, store: Store, gid: str) -> int | None:
        """Expire the discount now and return how often it was used; None if it does not exist.

        An expired discount stays unchanged. Shopify counts uses asynchronously, so the number can be too low, never too
        high. Source: Admin API 2026-10, `asyncUsageCount`.
        """
        with observed_call("shopify", "deactivate_discount"):
            payload = await self._end(store, "discountCodeDeactivate", gid)
            if payload is None:
                return None
            node = payload.code_discount_node
            if node is None or node.uses is None:
                raise Unknown(self._http.vendor, "the response has neither a discount nor an error")
            return node.uses

    async def set_loyalty_metafield(self, store: Store, customer_id: str, state: CustomerState) -> None:
        """Write the customer's state for the shop's theme. Retries are safe: the last write wins."""
        metafield = {
            "ownerId": customer_gid(customer_id),
            "namespace": "mage",
            "key": "loyalty",
            "type": "json",
            "value": json.dumps(asdict(state)),
        }
        with observed_call("shopify", "set_loyalty_metafield"):
            payload = await self._mutate(store, "metafieldsSet", {"metafields": [metafield]}, self._redactor(store))
            self._check_user_errors(payload, self._redactor(store))

    async def _create(self, store: Store, kind: str, discount: dict[str, Any]) -> str:
        redactor = self._redactor(store, discount["code"])
        payload = await self._mutate(store, f"discountCode{kind}Create", {"discount": discount}, redactor)
        self._check_user_errors(payload, redactor)
        if payload.code_discount_node is None:
            raise Unknown(self._http.vendor, "the response has neither a discount nor an error")
        return payload.code_discount_node.id

    async def _price(self, store: Store, discount: Discount) -> Decimal:
        """The current price of the free product. Raises `Refused` if the variant does not exist."""
        gid = variant_gid(discount)
        variant = await self._look_up(store, _Variant, "productVariant", {"id": gid})
        if variant is None:
            raise Refused(self._http.vendor, f"the product variant {gid} does not exist")
        return variant.price

    async def _all_products(self, store: Store) -> str:
        handle = {"handle": ALL_PRODUCTS_HANDLE}
        collection = await self._look_up(store, _Node, "collectionByIdentifier", handle)
        if collection is None:
            needed = f"a collection of all products with the handle `{ALL_PRODUCTS_HANDLE}`"
            raise Refused(self._http.vendor, f"a free product with a minimum spend needs {needed}")
        return collection.id

    async def _look_up(self, store: Store, model: type[_Model], field: str, variables: dict[str, Any]) -> _Model | None:
        """What a discount depends on, before it is requested. None: it does not exist."""
        try:
            found = await self._execute(store, field, variables, self._redactor(store))
            return None if found is None else self._parse(model, found)
        except Unknown as error:
            raise NotExecuted(error.vendor, error.reason) from error

    async def _end(self, store: Store, field: str, gid: str) -> _Mutation | None:
        """Delete or deactivate the discount; None if it does not exist."""
        payload = await self._mutate(store, field, {"id": gid}, self._redactor(store))
        if any("does not exist" in error.message for error in payload.user_errors):
            return None
        self._check_user_errors(payload, self._redactor(store))
        return payload

    async def _mutate(self, store: Store, field: str, variables: dict[str, Any], redactor: Redactor) -> _Mutation:
        return self._parse(_Mutation, await self._execute(store, field, variables, redactor))

    async def _execute(self, store: Store, field: str, variables: dict[str, Any], redactor: Redactor) -> object:
        """Execute the document of this root field and return the field's value."""
        url = self._url_template.format(shop_domain=store.domain, version=self._version)
        headers = {"X-Shopify-Access-Token": self._http.header_value(store.access_token)}
        body = {"query": _document(field), "variables": variables}
        response = await self._http.post(url, headers=headers, body=body, destination=store.domain, operation=field)
        self._check_version(store, response)
        if (budget := reported_budget(response)) is not None:
            self._budgets[store.domain] = budget, time.monotonic()
        data = response_data(self._http, response, redactor)
        if field not in data:
            raise Unknown(self._http.vendor, f"a response without {field}")
        return data[field]

    def _check_version(self, store: Store, response: httpx.Response) -> None:
        # Shopify silently serves a retired version with the oldest supported one. Source: shopify.dev, versioning.
        served = response.headers.get("X-Shopify-API-Version", self._version)
        if served != self._version:
            _log.warning("shopify_version_differs", shop=store.domain, requested=self._version, served=served)

    def _check_user_errors(self, payload: _Mutation, redactor: Redactor) -> None:
        """Raise for user errors: nothing was applied, or, after INTERNAL_ERROR, the outcome is unknown."""
        if not payload.user_errors:
            return
        reason = redactor.redact("; ".join(map(str, payload.user_errors)))
        codes = {error.code for error in payload.user_errors}
        if "INTERNAL_ERROR" in codes:
            raise Unknown(self._http.vendor, reason)
        raise CodeTaken(self._http.vendor, reason) if "TAKEN" in codes else Refused(self._http.vendor, reason)

    def _parse(self, model: type[_Model], value: object) -> _Model:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise Unknown(self._http.vendor, f"an unreadable {model.__name__.strip('_')}") from error

    @staticmethod
    def _redactor(store: Store, code: str | None = None) -> Redactor:
        return Redactor(store.access_token.get_secret_value(), code)


@cache
def _document(field: str) -> str:
    return (resources.files("clients") / "graphql" / f"{to_snake(field)}.graphql").read_text(encoding="utf-8")
