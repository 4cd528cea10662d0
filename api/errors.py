"""Every error of the API, in one table, and the JSON that all errors have."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Any, Literal

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.schemas.documents import Timestamp, format_time
from clients.targets import TargetRefused
from db.transactions import is_unreachable
from domain.eligibility import Refusal, RefusalCode
from services.customers import EMAIL_TAKEN, CustomerClosed, EmailTaken
from services.idempotency import IdempotencyKeyReused
from services.import_changes import DoesNotFit
from services.rewards import RewardExists, RewardNotFound
from services.subscriptions import SubscriptionNotFound, TooManySubscriptions
from services.webhook_intake import WebhookInvalid, WebhookRejected, WebhookSecretUnreadable

Retry = Literal["same_key", "new_key", "never"]

log = structlog.stdlib.get_logger("api")


@dataclass(frozen=True)
class Kind:
    """A row of the table. `detail` is the error's text, or an example of it where the text varies."""

    status: int
    retry: Retry
    detail: str


# The request may have been executed: only its repetition returns the outcome.
DATABASE_UNAVAILABLE = "The database is unavailable. Repeat the request to get its outcome."

KINDS = {
    "invalid_json": Kind(400, "never", "The body is not valid JSON"),
    "customer_identifier_missing": Kind(400, "never", "customer_identifier is required and must be a non-empty string"),
    "points_to_spend_missing": Kind(400, "never", "This reward has variable pricing: points_to_spend is required"),
    "points_to_spend_not_allowed": Kind(400, "never", "This reward has a fixed price: points_to_spend is not allowed"),
    "invalid_request": Kind(400, "never", "page[size]: Input should be less than or equal to 100"),
    "unauthorized": Kind(401, "never", "Missing Authorization header"),
    "read_only_key": Kind(403, "never", "This API key is read-only and cannot perform write operations"),
    "admin_key_required": Kind(403, "never", "This operation needs an API key of scope admin"),
    "customer_excluded": Kind(403, "new_key", "Customer is excluded from the loyalty program"),
    "vip_tier_required": Kind(403, "new_key", "This reward is only available to customers on the Gold tier"),
    "not_found": Kind(404, "never", "This path does not exist"),
    "customer_not_found": Kind(404, "new_key", "Customer '6789012345' not found"),
    "reward_not_found": Kind(404, "new_key", "Reward 'reward_abc' not found"),
    "reward_history_entry_not_found": Kind(404, "never", "Reward history entry 'cr_4k1t9zq0m2x7c8v5b3n6' not found"),
    "webhook_subscription_not_found": Kind(404, "never", "Webhook subscription 'whsub_4k1t9zq0m2x7c8v5b3n6' not found"),
    "method_not_allowed": Kind(405, "never", "This path does not support this method"),
    "request_timeout": Kind(408, "same_key", "The body was not received: nothing came for 10 seconds"),
    "reward_exists": Kind(409, "never", str(RewardExists("reward_abc"))),
    "customer_email_taken": Kind(409, "never", EMAIL_TAKEN.capitalize()),
    "payload_too_large": Kind(413, "never", "The body is larger than 16384 bytes"),
    "unsupported_media_type": Kind(415, "never", "Content-Type must be application/json, not text/plain"),
    "points_not_a_multiple": Kind(422, "new_key", "points_to_spend must be a multiple of 100; nearest: 100 or 200"),
    "below_minimum": Kind(422, "new_key", "points_to_spend is below the minimum of this reward; nearest: 500"),
    "above_maximum": Kind(422, "new_key", "points_to_spend is above the maximum of this reward; nearest: 2000"),
    "insufficient_points": Kind(422, "new_key", "Customer has 200 points but this reward costs 500"),
    "reward_sold_out": Kind(422, "new_key", "The maximum number of redemptions is reached: 100"),
    "reward_limit_reached": Kind(422, "new_key", "Customer has redeemed this reward as often as possible: 1"),
    "reward_already_used": Kind(422, "never", "The discount code has already been used"),
    "reward_not_redeemed": Kind(422, "never", "This entry is pending or failed, so it has no points to refund"),
    "too_many_webhook_subscriptions": Kind(422, "never", str(TooManySubscriptions())),
    "idempotency_key_reused": Kind(
        422, "new_key", "This Idempotency-Key was used for a different request. Use a new key."
    ),
    "rate_limited": Kind(429, "same_key", "Rate limit exceeded. Please retry after a short delay."),
    "internal_error": Kind(500, "same_key", "An unexpected error occurred"),
    "shopify_unavailable": Kind(503, "same_key", "Unable to connect to Shopify to generate the discount code"),
    "shopify_rejected": Kind(503, "never", "Shopify rejects the discount code of this reward for this customer"),
    "engine_unavailable": Kind(503, "same_key", DATABASE_UNAVAILABLE),
}

READING = ("GET", "HEAD")

_SERVICE_ERRORS = {
    IdempotencyKeyReused: "idempotency_key_reused",
    CustomerClosed: "customer_excluded",
    EmailTaken: "customer_email_taken",
    RewardExists: "reward_exists",
    RewardNotFound: "reward_not_found",
    SubscriptionNotFound: "webhook_subscription_not_found",
    TooManySubscriptions: "too_many_webhook_subscriptions",
    WebhookRejected: "unauthorized",
    WebhookSecretUnreadable: "engine_unavailable",
    WebhookInvalid: "invalid_request",
}

# Long enough for a worker to restart, short enough for a customer who waits.
RETRY_AFTER_SECONDS = 5

CHALLENGE = 'Bearer realm="Pointsaga"'
"""The one registered scheme that is accepted. Source: RFC 6750."""


class ErrorSource(BaseModel):
    """The part of the request that caused the error."""

    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None


class ErrorMeta(BaseModel):
    """How the client can retry.

    `nearest`: the possible `points_to_spend` around the given one. `available_at`: when the customer can redeem the
    reward again; absent if that is never or unknown.
    """

    retry: Retry
    nearest: list[int] | None = None
    available_at: Timestamp | None = None


class ErrorObject(BaseModel):
    """One error."""

    status: str
    code: str
    title: str
    detail: str
    source: ErrorSource | None = None
    meta: ErrorMeta


class ErrorDocument(BaseModel):
    """The body of every error response."""

    errors: list[ErrorObject]


@dataclass(eq=False)
class ApiError(Exception):
    """An error of the table. `detail` is for the client's developer; default: the table's."""

    code: str
    detail: str = ""
    source: ErrorSource | None = field(default=None, kw_only=True)
    retry_after: int = field(default=RETRY_AFTER_SECONDS, kw_only=True)
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any], kw_only=True)

    def __post_init__(self) -> None:
        self.kind = KINDS[self.code]
        self.detail = self.detail or self.kind.detail

    def document(self) -> ErrorDocument:
        status, words = self.kind.status, self.code.replace("_", " ").title()
        error = ErrorObject(
            status=str(status),
            code=self.code,
            title=words if status in (413, 422) else HTTPStatus(status).phrase,
            detail=self.detail,
            source=self.source,
            meta=ErrorMeta(retry=self.kind.retry, **self.meta),
        )
        return ErrorDocument(errors=[error])

    def body(self) -> str:
        return self.document().model_dump_json(exclude_none=True)

    def response(self) -> Response:
        return Response(self.body(), self.kind.status, self._headers(), media_type="application/json")

    def _headers(self) -> dict[str, str]:
        match self.kind.status:
            case 401:
                return {"WWW-Authenticate": CHALLENGE}
            case 429 | 503:
                return {"Retry-After": str(self.retry_after)}
            case _:
                return {}


def refusal_error(refusal: Refusal, *, customer_identifier: str, reward_id: str = "") -> ApiError:
    """The error that reports a refusal."""
    nearest = f"nearest: {' or '.join(map(str, refusal.nearest or ()))}"
    details = {
        RefusalCode.CUSTOMER_NOT_FOUND: f"Customer '{customer_identifier}' not found",
        RefusalCode.REWARD_NOT_FOUND: f"Reward '{reward_id}' not found",
        RefusalCode.VIP_TIER_REQUIRED: f"This reward is only available to customers on the {refusal.vip_tier} tier",
        RefusalCode.INSUFFICIENT_POINTS: (
            f"Customer has {refusal.points_available} points but this reward costs {refusal.points_cost}"
        ),
        RefusalCode.REWARD_SOLD_OUT: f"The maximum number of redemptions is reached: {refusal.max_redemptions}",
        RefusalCode.POINTS_NOT_A_MULTIPLE: f"points_to_spend must be a multiple of {refusal.points_step}; {nearest}",
        RefusalCode.BELOW_MINIMUM: f"points_to_spend is below the minimum of this reward; {nearest}",
        RefusalCode.ABOVE_MAXIMUM: f"points_to_spend is above the maximum of this reward; {nearest}",
        RefusalCode.REWARD_LIMIT_REACHED: _limit(refusal),
    }
    meta = {"nearest": refusal.nearest, "available_at": refusal.available_at}
    return ApiError(refusal.code, details.get(refusal.code, ""), meta=meta)


def _limit(refusal: Refusal) -> str:
    if refusal.available_at is not None:
        return f"Customer can redeem this reward again from {format_time(refusal.available_at)}"
    return f"Customer has redeemed this reward as often as possible: {refusal.max_per_customer}"


def install(app: FastAPI) -> None:
    """Answer every failure with an error of the table."""
    app.add_exception_handler(ApiError, _api_error)
    for exception, code in _SERVICE_ERRORS.items():
        app.add_exception_handler(exception, partial(_service_error, code))
    app.add_exception_handler(TargetRefused, _refused_target)
    app.add_exception_handler(DoesNotFit, _misfit)
    app.add_exception_handler(RequestValidationError, _invalid_parameter)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    for exception in (OSError, DBAPIError, PoolTimeoutError):
        app.add_exception_handler(exception, _database_error)
    app.add_exception_handler(Exception, _unexpected_error)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    if request.method in READING and error.kind.status == 404:
        # No key is spent by a read, so there is none to replace.
        error.kind = replace(error.kind, retry="never")
    response = error.response()
    if error.code == "request_timeout":
        response.headers["Connection"] = "close"
    # On errors too, so that a client without a key of its own can repeat the request safely.
    if key := getattr(request.state, "idempotency_key", None):
        response.headers["Idempotency-Key"] = key
    return response


async def _service_error(code: str, request: Request, error: Exception) -> Response:
    text = str(error)
    return await _api_error(request, ApiError(code, text[:1].upper() + text[1:]))


async def _refused_target(request: Request, error: Exception) -> Response:
    source = ErrorSource(pointer="/url")
    return await _api_error(request, ApiError("invalid_request", f"url: {error}", source=source))


async def _misfit(request: Request, error: Exception) -> Response:
    assert isinstance(error, DoesNotFit)
    source = ErrorSource(pointer=f"/{error.field}") if error.field else None
    detail = f"{error.field}: {error}" if error.field else str(error)
    return await _api_error(request, ApiError("invalid_request", detail, source=source))


async def _invalid_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place, name = first["loc"][0], str(first["loc"][-1])
    source = ErrorSource(header=name) if place == "header" else ErrorSource(parameter=name)
    return await _api_error(request, ApiError("invalid_request", f"{name}: {first['msg']}", source=source))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code != 405:
        return ApiError("not_found").response()
    response = ApiError("method_not_allowed").response()
    response.headers.update(error.headers or {})
    if allowed := _methods(request):
        response.headers["Allow"] = allowed
    return response


def _methods(request: Request) -> str:
    """All methods of a documented path. The framework's own `Allow` has those of one route only."""
    route = getattr(request.scope.get("route"), "path", None)
    documented = {method.upper() for method in request.app.openapi()["paths"].get(route, ())}
    return ", ".join(sorted(documented | ({"HEAD"} if "GET" in documented else set())))


async def _client_gone(_request: Request, _error: Exception) -> Response:
    """The client is gone. The status, which nginx uses for this, is for the access log."""
    return Response(status_code=499)


async def _database_error(request: Request, error: Exception) -> Response:
    if not is_unreachable(error):
        return await _unexpected_error(request, error)
    log.error("database unavailable", kind=type(error).__name__)
    return await _api_error(request, ApiError("engine_unavailable", DATABASE_UNAVAILABLE))


async def _unexpected_error(request: Request, error: Exception) -> Response:
    log.error("unexpected error", exc_info=error)
    response = await _api_error(request, ApiError("internal_error"))
    # This response bypasses the middleware.
    if request_id := getattr(request.state, "request_id", None):
        response.headers["X-Request-Id"] = request_id
    if allowance := getattr(request.state, "allowance", None):
        response.headers.update(allowance.headers)
    return response
