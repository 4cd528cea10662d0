"""Simulated Shopify: executes the real GraphQL operations for any number of shops, with rate limits by query cost."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, cast

from fastapi import HTTPException
from graphql import DocumentNode, ExecutionResult, GraphQLError, OperationDefinitionNode
from graphql import execute_sync as execute  # pyright: ignore[reportUnknownVariableType]  # its hooks have open types
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from sandbox.saved import Saved
from sandbox.shop import Shop
from sandbox.shopify_schema import load_schema, operation_of, parse_document, query_cost, root_field
from sandbox.vendor import Answer, Vendor, phrase

VERSIONS = ("2026-01", "2026-04", "2026-07", "2026-10")
STANDARD_RATE = 100.0
# Bucket size: the points restored in this many seconds. Source: shopify.dev, rate limits.
BUCKET_SECONDS = 20
ERRORS = {
    401: "[API] Invalid API key or access token (unrecognized login or wrong password)",
    402: "Unavailable Shop",
    404: "Not Found",
}


class ShopSettings(BaseModel):
    """Settings of one shop: the only valid token, its access scopes, and the points restored per second."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    access_token: str | None = None
    scopes: list[str] | None = None
    restore_rate: Annotated[float, Field(gt=0)] = STANDARD_RATE


class Variant(BaseModel):
    """A product variant. `price`: in the shop's currency; None: the variant does not exist."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    price: Annotated[Decimal, Field(ge=0)] | None


class Use(BaseModel):
    """An order that uses a discount code."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str


@dataclass
class Bucket:
    """The rate limit of one shop: a leaky bucket, in points."""

    rate: float = STANDARD_RATE
    level: float = STANDARD_RATE * BUCKET_SECONDS
    at: float = field(default_factory=time.monotonic)

    def take(self, cost: float) -> bool:
        """Subtract the cost; False, and no change, if there are too few points."""
        now = time.monotonic()
        self.level = min(self.rate * BUCKET_SECONDS, self.level + (now - self.at) * self.rate)
        self.at = now
        if cost > self.level:
            return False
        self.level -= cost
        return True

    def status(self) -> dict[str, float]:
        """The `throttleStatus`."""
        return {
            "maximumAvailable": self.rate * BUCKET_SECONDS,
            "currentlyAvailable": int(self.level),
            "restoreRate": self.rate,
        }


@dataclass
class _Account:
    shop: Shop
    bucket: Bucket = field(default_factory=Bucket)
    token: str | None = None

    def accepts(self, token: str) -> bool:
        return token.startswith("shpat_") if self.token is None else token == self.token


@dataclass(frozen=True)
class _Query:
    document: DocumentNode
    operation: OperationDefinitionNode
    variables: dict[str, Any]
    errors: tuple[GraphQLError, ...]

    @property
    def cost(self) -> int:
        return query_cost(self.document, self.operation)


class Shopify(Vendor):
    """Every domain is a shop. It accepts any `shpat_` token until one is set."""

    name = "shopify"

    def __init__(self, saved: Saved) -> None:
        super().__init__()
        self._saved = saved
        self._schema = load_schema()
        assert self._schema.query_type is not None
        assert self._schema.mutation_type is not None
        self.operations = frozenset(self._schema.query_type.fields) | frozenset(self._schema.mutation_type.fields)
        self._accounts: dict[str, _Account] = {}
        for shop_domain, value in saved.load():
            self._account(shop_domain).shop.restore(value)
        self.router.add_api_route("/{shop_domain}/admin/api/{version}/graphql.json", self._post, methods=["POST"])
        self.router.add_api_route(
            "/_sandbox/shopify/shops/{shop_domain}", self._set_up, methods=["PUT"], status_code=204
        )
        self.router.add_api_route(
            "/_sandbox/shopify/shops/{shop_domain}/uses", self._use, methods=["POST"], status_code=204
        )
        self.router.add_api_route(
            "/_sandbox/shopify/shops/{shop_domain}/variants/{variant_id}",
            self._set_variant,
            methods=["PUT"],
            status_code=204,
        )

    def error_answer(self, status: int) -> Answer:
        # Outside GraphQL, `errors` is a string. Source: shopify.dev, API response status codes.
        return Answer(phrase(status).lower(), status, {"errors": ERRORS.get(status, phrase(status))})

    def throttled(self, retry_after: float) -> Answer:
        return _throttled(Bucket(level=0.0), STANDARD_RATE * retry_after)

    def contents(self) -> dict[str, Any]:
        """Discounts, including deleted ones, and metafields of all shops."""
        shops = [(name, account.shop) for name, account in self._accounts.items()]
        return {
            "discounts": [{"shop": name, **found.view()} for name, shop in shops for found in shop.discounts.values()],
            "metafields": [{"shop": name, **value} for name, shop in shops for value in shop.metafields.values()],
        }

    def clear(self) -> None:
        self._accounts.clear()
        self._saved.clear()

    async def _set_up(self, shop_domain: str, settings: ShopSettings) -> None:
        account = self._account(shop_domain)
        account.token = settings.access_token
        if settings.scopes is not None:
            account.shop.scopes = settings.scopes
        account.bucket = Bucket(settings.restore_rate, settings.restore_rate * BUCKET_SECONDS)

    async def _use(self, shop_domain: str, use: Use) -> None:
        if not self._account(shop_domain).shop.use(use.code):
            raise HTTPException(409, f"the code {use.code} is not usable at this shop")

    async def _set_variant(self, shop_domain: str, variant_id: int, variant: Variant) -> None:
        self._account(shop_domain).shop.prices[f"gid://shopify/ProductVariant/{variant_id}"] = variant.price

    async def _post(self, shop_domain: str, version: str, request: Request) -> Response:
        token = request.headers.get("x-shopify-access-token", "")
        query = _parse(await request.body())
        operation = root_field(query.operation) if isinstance(query, _Query) else "invalid"
        response = await self.serve(
            operation, lambda: self._answer(shop_domain, token, query), account=shop_domain, shop=shop_domain
        )
        # Retired versions are served by the oldest supported one. Source: shopify.dev, versioning.
        response.headers["X-Shopify-API-Version"] = version if version in VERSIONS else VERSIONS[0]
        return response

    def _answer(self, shop_domain: str, token: str, query: _Query | Answer) -> Answer:
        account = self._account(shop_domain)
        if not account.accepts(token):
            return self.error_answer(401)
        if isinstance(query, Answer):
            return query
        if query.errors:
            return _graphql_errors(query.errors)
        if not account.bucket.take(query.cost):
            return _throttled(account.bucket, query.cost)
        return self._execute(account, query)

    def _execute(self, account: _Account, query: _Query) -> Answer:
        result = execute(
            self._schema,
            query.document,
            account.shop.root(),
            variable_values=query.variables,
            operation_name=query.operation.name.value if query.operation.name else None,
        )
        assert isinstance(result, ExecutionResult)
        if result.data is None and result.errors:
            return _graphql_errors(result.errors)
        body = result.formatted | {"extensions": {"cost": _cost(account.bucket, query.cost, query.cost)}}
        return Answer(_outcome(result), 200, body)

    def _account(self, shop_domain: str) -> _Account:
        if shop_domain not in self._accounts:
            self._accounts[shop_domain] = _Account(Shop(partial(self._saved.save, shop_domain)))
        return self._accounts[shop_domain]


def _parse(body: bytes) -> _Query | Answer:
    try:
        request: Any = json.loads(body)
        document, errors = parse_document(request["query"])
        operation = operation_of(document, request.get("operationName"))
    except GraphQLError as error:
        return _graphql_errors([error], code="PARSE_ERROR")
    except (ValueError, TypeError, KeyError):
        return Answer("bad request", 400, {"errors": {"query": "Required parameter missing or invalid"}})
    if operation is None:
        return _graphql_errors([GraphQLError("An operation name is required")], code="BAD_REQUEST")
    return _Query(document, operation, cast("dict[str, Any]", request.get("variables") or {}), errors)


def _graphql_errors(errors: Sequence[GraphQLError], code: str | None = None) -> Answer:
    codes = [code or _error_code(error) for error in errors]
    found = [{**error.formatted, "extensions": {"code": code}} for error, code in zip(errors, codes, strict=True)]
    return Answer(codes[0], 200, {"errors": found})


def _error_code(error: GraphQLError) -> str:
    if error.message.startswith("Cannot query field"):
        return "undefinedField"
    return "INVALID_VARIABLE" if error.message.startswith("Variable") else "argumentNotAccepted"


def _throttled(bucket: Bucket, cost: float) -> Answer:
    error = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
    return Answer("THROTTLED", 200, {"errors": [error], "extensions": {"cost": _cost(bucket, cost, None)}})


def _cost(bucket: Bucket, requested: float, actual: float | None) -> dict[str, Any]:
    return {"requestedQueryCost": requested, "actualQueryCost": actual, "throttleStatus": bucket.status()}


def _outcome(result: ExecutionResult) -> str:
    """`ok`, the codes of the user errors, or `error`."""
    payloads = [payload for payload in (result.data or {}).values() if payload]
    codes = [error.get("code") for payload in payloads for error in payload.get("userErrors", ())]
    return ", ".join(map(str, codes)) or ("error" if result.errors else "ok")
