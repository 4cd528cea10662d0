"""Shopify's Admin API: discount codes and the customer's loyalty metafield.

No mutation used here takes an idempotency key. A discount's code is unique in its shop, so the code is the key.
"""

import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import httpx
import structlog
from pydantic import SecretStr, ValidationError
from pydantic.alias_generators import to_snake

from clients.outcomes import NotExecuted, Refused, Unknown
from clients.shopify_answers import Camel, UserError, data_of
from clients.shopify_discounts import (
    DiscountNode,
    FoundDiscount,
    basic_input,
    customer_gid,
    fence_input,
    free_product_input,
    free_shipping_input,
)
from clients.wire import Censor, Wire, censor
from domain.discounts import Discount, DiscountType
from domain.events import CustomerState

__all__ = ["CodeTaken", "FoundDiscount", "Shopify", "Store"]

# Shopify itself gives up after 10 s with a 504, so a longer silence means a lost connection.
READ_SECONDS = 12.0

# "Buy X get Y" takes no `items.all` (Admin schema, DiscountItemsInput), so what counts as a purchase is a collection:
# the one with the handle that storefronts show every product under.
EVERYTHING = "all"

_Model = TypeVar("_Model", bound=Camel)

_log = structlog.get_logger()


@dataclass(frozen=True)
class Store:
    """A merchant's shop and the token that opens it."""

    domain: str
    access_token: SecretStr


class CodeTaken(Refused):
    """A discount with this code exists: ours, made by a call whose answer was lost, or somebody else's. Look."""


class _Usage(Camel):
    async_usage_count: int


class _Node(Camel):
    id: str
    code_discount: _Usage | None = None


class _Mutation(Camel):
    code_discount_node: _Node | None = None
    user_errors: tuple[UserError, ...] = ()


class Shopify:
    """Speaks GraphQL to any shop. Each call is one HTTP try and raises `NotExecuted`, `Refused` or `Unknown`."""

    def __init__(self, http: httpx.AsyncClient, *, url_template: str, api_version: str) -> None:
        self._wire = Wire("Shopify", http, READ_SECONDS)
        self._url_template = url_template
        self._version = api_version

    async def create_discount(self, store: Store, discount: Discount) -> str:
        """Make the discount code and return its gid.

        Raises:
            CodeTaken: the code exists; the lost answer of an earlier try looks the same.
        """
        match discount.type:
            case DiscountType.FREE_SHIPPING:
                return await self._create(store, "FreeShipping", free_shipping_input(discount))
            case DiscountType.FREE_PRODUCT:
                everything = await self._everything(store)
                return await self._create(store, "Bxgy", free_product_input(discount, everything))
            case DiscountType.FIXED_AMOUNT | DiscountType.PERCENTAGE:
                return await self._create(store, "Basic", basic_input(discount))

    async def fence_code(self, store: Store, discount: Discount) -> str:
        """Fence the code: make it an already expired discount, so that a late commit of the real one meets TAKEN.

        Raises:
            CodeTaken: something has the code already; it may be the discount itself, or this very fence.
        """
        return await self._create(store, "Basic", fence_input(discount))

    async def find_discount(self, store: Store, code: str) -> FoundDiscount | None:
        """The discount with this code in whatever case, expired ones too; None where there is none."""
        private = self._censor(store, code)
        node = await self._ask(store, "codeDiscountNodeByCode", {"code": code}, private)
        return None if node is None else self._read(DiscountNode, node).found()

    async def delete_discount(self, store: Store, gid: str) -> None:
        """Delete the discount; one that does not exist (any more) is as good as deleted."""
        await self._end(store, "discountCodeDelete", gid)

    async def deactivate_discount(self, store: Store, gid: str) -> int | None:
        """Expire the discount now and tell how often it was used; None when it does not exist (any more).

        One that has expired is left as it is. Shopify counts uses after the fact: the figure can be too low for a
        moment, and is never too high (Admin schema, `asyncUsageCount`).
        """
        payload = await self._end(store, "discountCodeDeactivate", gid)
        if payload is None:
            return None
        node = payload.code_discount_node
        if node is None or node.code_discount is None:
            raise Unknown(self._wire.vendor, "neither a discount nor an error")
        return node.code_discount.async_usage_count

    async def set_loyalty_metafield(self, store: Store, customer_id: str, state: CustomerState) -> None:
        """Write the customer's state where the shop's theme reads it. The last writer wins, so repeating is safe."""
        metafield = {
            "ownerId": customer_gid(customer_id),
            "namespace": "mage",
            "key": "loyalty",
            "type": "json",
            "value": json.dumps(asdict(state)),
        }
        payload = await self._mutate(store, "metafieldsSet", {"metafields": [metafield]}, self._censor(store))
        self._check(payload, self._censor(store))

    async def _create(self, store: Store, kind: str, discount: dict[str, Any]) -> str:
        private = self._censor(store, discount["code"])
        payload = await self._mutate(store, f"discountCode{kind}Create", {"discount": discount}, private)
        self._check(payload, private)
        if payload.code_discount_node is None:
            raise Unknown(self._wire.vendor, "neither a discount nor an error")
        return payload.code_discount_node.id

    async def _everything(self, store: Store) -> str:
        try:
            node = await self._ask(store, "collectionByIdentifier", {"handle": EVERYTHING}, self._censor(store))
            if node is not None:
                return self._read(_Node, node).id
        except Unknown as error:
            # Only a question went astray: no discount was asked for yet.
            raise NotExecuted(error.vendor, error.reason) from error
        reason = f"a free product needs a collection of all products with the handle `{EVERYTHING}`"
        raise Refused(self._wire.vendor, reason, alarm=True)

    async def _end(self, store: Store, field: str, gid: str) -> _Mutation | None:
        """What came of it; None when there is no such discount."""
        payload = await self._mutate(store, field, {"id": gid}, self._censor(store))
        if any("does not exist" in error.message for error in payload.user_errors):
            return None
        self._check(payload, self._censor(store))
        return payload

    async def _mutate(self, store: Store, field: str, variables: dict[str, Any], private: Censor) -> _Mutation:
        return self._read(_Mutation, await self._ask(store, field, variables, private))

    async def _ask(self, store: Store, field: str, variables: dict[str, Any], private: Censor) -> object:
        """Run the document of this root field and return the field's value."""
        url = self._url_template.format(shop_domain=store.domain, version=self._version)
        headers = {"X-Shopify-Access-Token": self._wire.header(store.access_token)}
        response = await self._wire.post(url, headers=headers, body={"query": _document(field), "variables": variables})
        self._watch_version(store, response)
        data = data_of(self._wire, response, private)
        if field not in data:
            raise Unknown(self._wire.vendor, f"an answer without {field}")
        return data[field]

    def _watch_version(self, store: Store, response: httpx.Response) -> None:
        # Shopify serves a retired version with the oldest one it still has, without any error.
        served = response.headers.get("X-Shopify-API-Version", self._version)
        if served != self._version:
            _log.warning("shopify_version_differs", shop=store.domain, asked=self._version, served=served)

    def _check(self, payload: _Mutation, private: Censor) -> None:
        """Shopify applies nothing of a mutation that has user errors; INTERNAL_ERROR alone is not to be trusted."""
        if not payload.user_errors:
            return
        reason = private.clean("; ".join(map(str, payload.user_errors)))
        codes = {error.code for error in payload.user_errors}
        if "INTERNAL_ERROR" in codes:
            raise Unknown(self._wire.vendor, reason)
        raise CodeTaken(self._wire.vendor, reason) if "TAKEN" in codes else Refused(self._wire.vendor, reason)

    def _read(self, model: type[_Model], value: object) -> _Model:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise Unknown(self._wire.vendor, f"an unreadable {model.__name__.strip('_')}") from error

    @staticmethod
    def _censor(store: Store, code: str | None = None) -> Censor:
        return censor(store.access_token.get_secret_value(), code)


@cache
def _document(field: str) -> str:
    return (resources.files("clients") / "graphql" / f"{to_snake(field)}.graphql").read_text(encoding="utf-8")
