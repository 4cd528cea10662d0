"""What Shopify's answers mean. Most failures come as HTTP 200, so the status alone says little."""

from datetime import timedelta
from typing import Any

import httpx
from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from clients.outcomes import NotExecuted, Refused, Unknown
from clients.wire import Censor, Lenient, Wire, read, retry_after_header

# What the documented statuses say beyond HTTP's own words (shopify.dev, API response status codes).
STATUS_MEANINGS = {
    402: "the shop is frozen",
    423: "the shop is locked",
    430: "refused for security reasons",
}
MERCHANTS_MATTER = {"ACCESS_DENIED", "SHOP_INACTIVE"}
REFUSALS = {
    *MERCHANTS_MATTER,
    "BAD_REQUEST",
    "INVALID_VARIABLE",
    "MAX_COST_EXCEEDED",
    "MAX_INPUT_SIZE_EXCEEDED",
    "NOT_FOUND",
    "PARSE_ERROR",
    "RESOURCE_NOT_FOUND",
}


class Camel(Lenient):
    """A part of Shopify's answer, in Shopify's spelling on the wire."""

    model_config = ConfigDict(alias_generator=to_camel)


class UserError(Camel):
    """A mutation's own refusal. `code` is an open string: each version of the API adds some."""

    code: str | None = None
    field: tuple[str, ...] | None = None
    message: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.code, ".".join(self.field or ()), self.message)))


class _ErrorExtensions(Camel):
    code: str = ""


class _Error(Camel):
    message: str = ""
    path: tuple[JsonValue, ...] | None = None
    extensions: _ErrorExtensions = _ErrorExtensions()

    @property
    def code(self) -> str:
        return self.extensions.code

    @property
    def is_below_the_root(self) -> bool:
        """Whether only a part of the answer failed, after the mutation itself had run."""
        return self.path is not None and len(self.path) > 1

    @property
    def is_refusal(self) -> bool:
        # Validation codes come from the GraphQL engine in camelCase (undefinedField, argumentNotAccepted, ...).
        return not self.is_below_the_root and (self.code in REFUSALS or self.code[:1].islower())


class _Answer(Camel):
    data: dict[str, Any] | None = None
    errors: tuple[_Error, ...] = ()
    extensions: Any = None


class _ThrottleStatus(Camel):
    currently_available: float
    restore_rate: float


class _Cost(Camel):
    requested_query_cost: float
    throttle_status: _ThrottleStatus


class _CostExtensions(Camel):
    cost: _Cost


def data_of(wire: Wire, response: httpx.Response, private: Censor) -> dict[str, Any]:
    """The `data` of a GraphQL answer.

    Raises:
        NotExecuted: THROTTLED, 429, or the shop was unavailable for a moment.
        Refused: the request or the token was turned away; `alarm` where the merchant has to act.
        Unknown: Shopify broke off, or its answer cannot be read.
    """
    _check_status(wire, response, private)
    answer = read(_Answer, response)
    if answer is None:
        raise Unknown(wire.vendor, f"unreadable answer, {private.reason(response)}")
    if answer.errors:
        raise _failure(wire, answer, private)
    if answer.data is None:
        raise Unknown(wire.vendor, "an answer without data")
    return answer.data


def _check_status(wire: Wire, response: httpx.Response, private: Censor) -> None:
    reason = private.reason(response)
    if meaning := STATUS_MEANINGS.get(response.status_code):
        raise Refused(wire.vendor, f"{meaning}, {reason}", alarm=True)
    # Seen on healthy shops and gone a moment later, unlike every other 403.
    if response.status_code == httpx.codes.FORBIDDEN.value and "Unavailable Shop" in response.text:
        raise NotExecuted(wire.vendor, reason)
    wire.check_status(response, reason, retry_after=retry_after_header(response))


def _failure(wire: Wire, answer: _Answer, private: Censor) -> NotExecuted | Refused | Unknown:
    reason = private.clean("; ".join(f"{error.code} {error.message}" for error in answer.errors))
    codes = {error.code for error in answer.errors}
    if codes == {"THROTTLED"}:
        return NotExecuted(wire.vendor, reason, retry_after=_throttled_for(answer.extensions))
    if all(error.is_refusal for error in answer.errors):
        return Refused(wire.vendor, reason, alarm=not codes.isdisjoint(MERCHANTS_MATTER))
    return Unknown(wire.vendor, reason)


def _throttled_for(extensions: object) -> timedelta | None:
    """Until the bucket holds what the query asked for: admission needs the requested cost, not the actual one."""
    try:
        cost = TypeAdapter(_CostExtensions).validate_python(extensions).cost
        missing = cost.requested_query_cost - cost.throttle_status.currently_available
        return timedelta(seconds=max(0.0, missing / cost.throttle_status.restore_rate))
    except (ValidationError, ZeroDivisionError, OverflowError):
        return None
