"""Outcomes of Shopify's GraphQL responses. Most failures are HTTP 200 with errors in the body.

Sources: shopify.dev, "API response status codes"; published Admin API schema 2026-10.
"""

from datetime import timedelta
from typing import Any

import httpx
from pydantic import AliasPath, ConfigDict, Field, JsonValue, PositiveFloat, ValidationError
from pydantic.alias_generators import to_camel

from clients.outcomes import NotExecuted, Refused, Unknown
from clients.vendor_http import Redactor, ResponseModel, VendorHttp, parse_body
from domain.shopify_budget import ShopifyBudget

# Statuses that only Shopify uses, or uses with a meaning of its own.
STATUS_MEANINGS = {402: "the shop is frozen", 423: "the shop is locked", 430: "rejected for security reasons"}
CONFIGURATION_CODES = {"ACCESS_DENIED", "SHOP_INACTIVE"}
REFUSED_CODES = {
    *CONFIGURATION_CODES,
    "BAD_REQUEST",
    "INVALID_VARIABLE",
    "MAX_COST_EXCEEDED",
    "MAX_INPUT_SIZE_EXCEEDED",
    "NOT_FOUND",
    "PARSE_ERROR",
    "RESOURCE_NOT_FOUND",
}


class ShopifyModel(ResponseModel):
    """Part of a Shopify response; fields are camelCase in JSON."""

    model_config = ConfigDict(alias_generator=to_camel)


class UserError(ShopifyModel):
    """Why a mutation was rejected. `code` is not an enum, because new API versions add codes."""

    code: str | None = None
    field: tuple[str, ...] | None = None
    message: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.code, ".".join(self.field or ()), self.message)))


class _Error(ShopifyModel):
    message: str = ""
    path: tuple[JsonValue, ...] | None = None
    code: str = Field("", validation_alias=AliasPath("extensions", "code"))

    @property
    def is_nested(self) -> bool:
        """Whether a field below the mutation failed, which means that the mutation itself was executed."""
        return self.path is not None and len(self.path) > 1

    @property
    def is_refusal(self) -> bool:
        # Validation codes are camelCase (undefinedField, argumentNotAccepted, ...).
        return not self.is_nested and (self.code in REFUSED_CODES or self.code[:1].islower())


class _Response(ShopifyModel):
    data: dict[str, Any] | None = None
    errors: tuple[_Error, ...] = ()
    extensions: Any = None


class _Throttling(ShopifyModel):
    requested: float = Field(validation_alias=AliasPath("cost", "requestedQueryCost"))
    available: float = Field(validation_alias=AliasPath("cost", "throttleStatus", "currentlyAvailable"))
    restore_rate: float = Field(validation_alias=AliasPath("cost", "throttleStatus", "restoreRate"))


class _ThrottleStatus(ShopifyModel):
    """The rate limit after the query."""

    maximum_available: PositiveFloat
    currently_available: float
    restore_rate: PositiveFloat


class _Throttled(ShopifyModel):
    status: _ThrottleStatus = Field(validation_alias=AliasPath("extensions", "cost", "throttleStatus"))


def reported_budget(response: httpx.Response) -> ShopifyBudget | None:
    """The shop's budget as the response reports it. None: the response has no throttle figures."""
    parsed = parse_body(_Throttled, response)
    if parsed is None:
        return None
    status = parsed.status
    missing = max(0.0, status.maximum_available - status.currently_available)
    full_in = timedelta(seconds=missing / status.restore_rate)
    return ShopifyBudget(maximum=status.maximum_available, restore_rate=status.restore_rate, full_in=full_in)


def response_data(http: VendorHttp, response: httpx.Response, redactor: Redactor) -> dict[str, Any]:
    """The `data` of a GraphQL response.

    Raises:
        NotExecuted: THROTTLED, 429, or the shop is temporarily unavailable.
        Refused: the request or (`alarm`) the token was rejected, or the shop is frozen, locked or inactive.
        Unknown: Shopify failed, or the response is unreadable.
    """
    _check_status(http, response, redactor)
    body = parse_body(_Response, response)
    if body is None:
        raise Unknown(http.vendor, f"unreadable response, {redactor.reason(response)}")
    if body.errors:
        raise _failure(http, body, redactor)
    if body.data is None:
        raise Unknown(http.vendor, "a response without data")
    return body.data


def _check_status(http: VendorHttp, response: httpx.Response, redactor: Redactor) -> None:
    reason = redactor.reason(response)
    if meaning := STATUS_MEANINGS.get(response.status_code):
        raise Refused(http.vendor, f"{meaning}, {reason}", alarm=True)
    # Unlike any other 403 this one is temporary; field reports saw it on healthy shops.
    if response.status_code == httpx.codes.FORBIDDEN.value and "Unavailable Shop" in response.text:
        raise NotExecuted(http.vendor, reason)
    http.check_status(response, reason)


def _failure(http: VendorHttp, body: _Response, redactor: Redactor) -> NotExecuted | Refused | Unknown:
    reason = redactor.redact("; ".join(f"{error.code} {error.message}" for error in body.errors))
    codes = {error.code for error in body.errors}
    if codes == {"THROTTLED"}:
        return NotExecuted(http.vendor, reason, retry_after=_throttle_wait(body.extensions))
    if all(error.is_refusal for error in body.errors):
        return Refused(http.vendor, reason, alarm=not codes.isdisjoint(CONFIGURATION_CODES))
    return Unknown(http.vendor, reason)


def _throttle_wait(extensions: object) -> timedelta | None:
    """Time until the rate limit permits the query. Shopify checks its requested cost, not its actual one."""
    try:
        cost = _Throttling.model_validate(extensions)
        return timedelta(seconds=max(0.0, (cost.requested - cost.available) / cost.restore_rate))
    except (ValidationError, ZeroDivisionError, OverflowError):
        return None
